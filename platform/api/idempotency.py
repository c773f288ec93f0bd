"""The only place that makes retries safe: an answer is kept, and given again.

What creates or changes is `idempotent`: the answer is kept in the commit of what it answers.
What commits on its way (a search) is `idempotent_across_commits`: its answer is kept in a commit
of its own afterwards, so a process that is killed in between lets a retry act again. It MUST only
be put on acts that may be repeated.
Of a request that failed nothing is kept: it is simply tried again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.authentication import principal_of
from api.models import KeptAnswer
from audit.errors import Problem
from tenants import encryption, isolation

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LIFE = timedelta(hours=24)
SWEPT = 100
KEPT_HEADERS = ("Location",)

Handler = Callable[..., Response]
Act = Callable[[], Response]


class KeyMalformed(Problem):
    """An Idempotency-Key is 1 to 255 printable ASCII characters."""

    code = "idempotency_key_malformed"
    status = 422


class KeyReused(Problem):
    """This Idempotency-Key was sent with another request before."""

    code = "idempotency_key_reused"
    status = 422


class StillInProgress(Problem):
    """A request with this Idempotency-Key is being answered right now. Try again."""

    code = "request_in_progress"
    status = 409


class Asked(msgspec.Struct, frozen=True):
    """A request with a key: whose, which, and what it commits to."""

    scope: str
    key: str
    fingerprint: str
    now: datetime


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
        asked = _asked(request, key, timezone.now())
        return once(asked, lambda: handler(view, request, **arguments))

    heeding.heeds_idempotency_key = True  # type: ignore[attr-defined]
    return heeding


def _in_one_commit(asked: Asked, act: Act) -> Response:
    """1. Take the key, or somebody is at it. 2. Replay. 3. Act, and keep the answer."""
    with transaction.atomic():
        if not _locked("pg_try_advisory_xact_lock", asked):
            raise StillInProgress
        replayed = _replayed(asked)
        if replayed is not None:
            return replayed
        response = act()
        _keep(response, asked)
    return response


def _across_commits(asked: Asked, act: Act) -> Response:
    """The same, with a lock of the session, which a transaction's end does not give back."""
    if not _locked("pg_try_advisory_lock", asked):
        raise StillInProgress
    try:
        replayed = _replayed(asked)
        if replayed is not None:
            return replayed
        response = act()
        with transaction.atomic(durable=True):
            _keep(response, asked)
    finally:
        _locked("pg_advisory_unlock", asked)
    return response


def _locked(function: LiteralString, asked: Asked) -> bool:
    name = f"idempotency {isolation.current().schema_name} {asked.scope} {asked.key}"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [name])
        (done,) = cursor.fetchone()
    return bool(done)


def _replayed(asked: Asked) -> Response | None:
    """The answer that was kept for the request, or None. Raises KeyReused."""
    kept = KeptAnswer.objects.filter(
        scope=asked.scope, key=asked.key, created_at__gt=asked.now - LIFE
    ).first()
    if kept is None:
        return None
    if kept.fingerprint != asked.fingerprint:
        raise KeyReused
    text = encryption.open(kept.body)
    data = json.loads(text) if text else None
    return Response(data, status=kept.status, headers={**kept.headers, REPLAYED: "true"})


def _keep(response: Response, asked: Asked) -> None:
    _forget_old(asked)
    text = JSONRenderer().render(response.data).decode()
    KeptAnswer.objects.create(
        scope=asked.scope,
        key=asked.key,
        fingerprint=asked.fingerprint,
        status=response.status_code,
        headers={name: response[name] for name in KEPT_HEADERS if name in response},
        body=encryption.seal(text),
        created_at=asked.now,
    )


def _forget_old(asked: Asked) -> None:
    aged = KeptAnswer.objects.filter(created_at__lte=asked.now - LIFE)
    aged.filter(scope=asked.scope, key=asked.key).delete()
    old = aged.order_by("created_at")
    ids: list[UUID] = list(
        old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:SWEPT]
    )
    if ids:
        KeptAnswer.objects.filter(pk__in=ids).delete()


def _asked(request: Request, key: str, now: datetime) -> Asked:
    if not 0 < len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise KeyMalformed
    fingerprint = _fingerprint(request)
    who = principal_of(request)
    # Nobody is known while signing in: there the request itself, password included, is the scope.
    scope = f"{who.kind}:{who.id}" if who else f"anonymous:{fingerprint}"
    return Asked(scope, key, fingerprint, now)


def _fingerprint(request: Request) -> str:
    """Keyed (HMAC-SHA-256), since a plain hash of a body could be searched for its password."""
    files = request.FILES.dict() if hasattr(request.FILES, "dict") else {}
    sent: Any = request.data
    fields = {name: sent[name] for name in sent if name not in files} if files else sent
    parts = [
        request.method,
        request.path,
        fields,
        {name: _file_facts(file) for name, file in files.items()},
    ]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return salted_hmac("api.idempotency", text, algorithm="sha256").hexdigest()


def _file_facts(file: UploadedFile[Any]) -> list[str]:
    made = hashlib.sha256()
    for chunk in file.chunks():
        made.update(chunk)
    file.seek(0)
    return [file.name or "", made.hexdigest()]
