"""The only place where an answer is kept for a retry, and found again: by whom, key and request.

Whoever asks takes the key first (`take_until_commit`, or `take` and `give_back`), so that of many
at once one acts and the others find what it kept. Of a request that failed nothing is kept.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from django.db import connection
from django.utils.crypto import salted_hmac

from api.models import KeptAnswer
from audit.errors import Problem
from runtime.stores import Erasing
from tenants import encryption, isolation

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LIFE = timedelta(hours=24)
SWEPT = 100


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
    """A request that may be sent again: whose, under which key, what it commits to, and when."""

    scope: str
    key: str
    fingerprint: str
    now: datetime


class Kept(msgspec.Struct, frozen=True):
    """What was answered. `data` is JSON's value; None for no body."""

    status: int
    headers: dict[str, str]
    data: Any


def checked_key(text: str) -> str:
    """What a client may send as its key. Raises KeyMalformed."""
    if not 0 < len(text) <= 255 or not text.isascii() or not text.isprintable():
        raise KeyMalformed
    return text


def fingerprint(parts: Any) -> str:
    """What commits to a request, of JSON values.

    Keyed (HMAC-SHA-256), since a plain hash of a body could be searched for its password.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return salted_hmac("api.idempotency", text, algorithm="sha256").hexdigest()


def take_until_commit(asked: Asked) -> None:
    """Hold the key until the caller's transaction ends. Raises StillInProgress."""
    if not _locked("pg_try_advisory_xact_lock", asked):
        raise StillInProgress


def take(asked: Asked) -> None:
    """Hold the key across commits, until `give_back`. Raises StillInProgress."""
    if not _locked("pg_try_advisory_lock", asked):
        raise StillInProgress


def give_back(asked: Asked) -> None:
    """Let go of what `take` took."""
    _locked("pg_advisory_unlock", asked)


def _locked(function: LiteralString, asked: Asked) -> bool:
    name = f"idempotency {isolation.current().schema_name} {asked.scope} {asked.key}"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [name])
        (done,) = cursor.fetchone()
    return bool(done)


def found(asked: Asked, *, within: timedelta = LIFE) -> Kept | None:
    """The answer that was kept for the request, or None. Raises KeyReused."""
    kept = KeptAnswer.objects.filter(
        scope=asked.scope, key=asked.key, created_at__gt=asked.now - within
    ).first()
    if kept is None:
        return None
    if kept.fingerprint != asked.fingerprint:
        raise KeyReused
    text = encryption.open(kept.body)
    return Kept(kept.status, kept.headers, json.loads(text) if text else None)


def keep(asked: Asked, text: str, *, status: int, headers: dict[str, str]) -> None:
    """Keep an answer, whose body is `text`, in place of what was kept under this key before."""
    _forget_old(asked)
    KeptAnswer.objects.create(
        scope=asked.scope,
        key=asked.key,
        fingerprint=asked.fingerprint,
        status=status,
        headers=headers,
        body=encryption.seal(text),
        created_at=asked.now,
    )


def keep_longer(asked: Asked) -> None:
    """Let the life of the answer that was kept for the request begin again."""
    KeptAnswer.objects.filter(scope=asked.scope, key=asked.key).update(created_at=asked.now)


def _forget_old(asked: Asked) -> None:
    KeptAnswer.objects.filter(scope=asked.scope, key=asked.key).delete()
    old = KeptAnswer.objects.filter(created_at__lte=asked.now - LIFE).order_by("created_at")
    ids: list[UUID] = list(
        old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:SWEPT]
    )
    if ids:
        KeptAnswer.objects.filter(pk__in=ids).delete()


def forget(erasing: Erasing) -> int:
    """Empty the answers that are about a person; how many.

    Their rows stay for their day: a retry gets the status and no body, and does not act again.
    """
    words = erasing.words
    about = [
        kept.pk
        for kept in KeptAnswer.objects.only("body").iterator()
        if any(word in encryption.open(kept.body) for word in words)
    ]
    return KeptAnswer.objects.filter(pk__in=about).update(body=encryption.seal(""), headers={})
