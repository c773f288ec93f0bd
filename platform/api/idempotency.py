"""The only place that makes retries of the REST API safe: an answer is kept, and given again.

What creates or changes is `idempotent`: the answer is kept in the commit of what it answers.
What commits on its way (a search) is `idempotent_across_commits`: its answer is kept in a commit
of its own afterwards, so a process that is killed in between lets a retry act again. It MUST only
be put on acts that may be repeated.
Of a request that failed nothing is kept: it is simply tried again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api import kept_answers
from api.authentication import principal_of
from api.kept_answers import HEADER, REPLAYED, Asked

KEPT_HEADERS = ("Location",)

Handler = Callable[..., Response]
Act = Callable[[], Response]


def idempotent(handler: Handler) -> Handler:
    """A view's method that heeds the Idempotency-Key, and acts in one commit with its answer."""
    return _heeding(handler, _in_one_commit)


def idempotent_across_commits(handler: Handler) -> Handler:
    """A view's method that heeds the Idempotency-Key, commits on its way and may be repeated."""
    return _heeding(handler, _across_commits)


def _heeding(handler: Handler, once: Callable[[Asked, Act], Response]) -> Handler:
    @functools.wraps(handler)
    def heeding(view: Any, request: Request, **arguments: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return handler(view, request, **arguments)
        asked = _asked(request, kept_answers.checked_key(key), timezone.now())
        return once(asked, lambda: handler(view, request, **arguments))

    heeding.heeds_idempotency_key = True  # type: ignore[attr-defined]
    return heeding


def _in_one_commit(asked: Asked, act: Act) -> Response:
    """1. Take the key, or somebody is at it. 2. Replay. 3. Act, and keep the answer."""
    with transaction.atomic():
        kept_answers.take_until_commit(asked)
        replayed = _replayed(asked)
        if replayed is not None:
            return replayed
        response = act()
        _keep(response, asked)
    return response


def _across_commits(asked: Asked, act: Act) -> Response:
    """The same, with a lock of the session, which a transaction's end does not give back."""
    kept_answers.take(asked)
    try:
        replayed = _replayed(asked)
        if replayed is not None:
            return replayed
        response = act()
        with transaction.atomic(durable=True):
            _keep(response, asked)
    finally:
        kept_answers.give_back(asked)
    return response


def _replayed(asked: Asked) -> Response | None:
    kept = kept_answers.found(asked)
    if kept is None:
        return None
    return Response(kept.data, status=kept.status, headers={**kept.headers, REPLAYED: "true"})


def _keep(response: Response, asked: Asked) -> None:
    kept_answers.keep(
        asked,
        JSONRenderer().render(response.data).decode(),
        status=response.status_code,
        headers={name: response[name] for name in KEPT_HEADERS if name in response},
    )


def _asked(request: Request, key: str, now: datetime) -> Asked:
    fingerprint = _fingerprint(request)
    who = principal_of(request)
    # Nobody is known while signing in: there the request itself, password included, is the scope.
    scope = f"{who.kind}:{who.id}" if who else f"anonymous:{fingerprint}"
    return Asked(scope, key, fingerprint, now)


def _fingerprint(request: Request) -> str:
    files = request.FILES.dict() if hasattr(request.FILES, "dict") else {}
    sent: Any = request.data
    fields = {name: sent[name] for name in sent if name not in files} if files else sent
    facts = {name: _file_facts(file) for name, file in files.items()}
    return kept_answers.fingerprint([request.method, request.path, fields, facts])


def _file_facts(file: UploadedFile[Any]) -> list[str]:
    made = hashlib.sha256()
    for chunk in file.chunks():
        made.update(chunk)
    file.seek(0)
    return [file.name or "", made.hexdigest()]
