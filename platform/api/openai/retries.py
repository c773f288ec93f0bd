"""The only place that tells a client's retry from a new request, so that one call starts one run.

A client that sends an Idempotency-Key says so itself. OpenAI's own clients send none; they count
their tries in `X-Stainless-Retry-Count`. There the request itself is the key: a first try (0)
always starts a run, and a later one of the same principal finds what the earlier one started.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from api import kept_answers
from api.kept_answers import HEADER, LIFE, REPLAYED, Asked
from api.openai.exchange import Exchange, json_of
from tenants.principals import Principal

KEY = HEADER.lower().encode()
COUNT = b"x-stainless-retry-count"
# OpenAI's clients give up on a try after ten minutes by themselves. Each retry begins them again.
LIFE_WITHOUT_KEY = timedelta(minutes=15)


class NotAwaited(Exception):
    """Nobody waits for the answer any more, and nothing was done."""


class Try(msgspec.Struct, frozen=True):
    """A request that may be sent again. A first one starts anew whatever was kept."""

    asked: Asked
    within: timedelta
    is_first: bool


def try_of(exchange: Exchange, principal: Principal, request: dict[str, Any]) -> Try | None:
    """How the request is known again; None for a client that has no way to say. KeyMalformed."""
    who, now = f"{principal.kind}:{principal.id}", datetime.now(UTC)
    fingerprint = kept_answers.fingerprint([exchange.method, exchange.path, request])
    if exchange.has(KEY):
        key = kept_answers.checked_key(exchange.header(KEY))
        return Try(Asked(who, key, fingerprint, now), within=LIFE, is_first=False)
    count = exchange.header(COUNT)
    if not (count.isascii() and count.isdigit() and len(count) < 10):
        return None
    # A scope of its own, in which no client can put a key.
    asked = Asked(f"{who} without a key", fingerprint, fingerprint, now)
    return Try(asked, within=LIFE_WITHOUT_KEY, is_first=int(count) == 0)


def once(made: Try | None, start: Callable[[], UUID], exchange: Exchange) -> UUID:
    """The run that an earlier try started, or the one that `start` starts now, in one commit.

    To be called in the tenant. A client that gave up a try sends the next one, so a try that
    nobody waits for starts nothing: it may come to its turn after its own retry.
    Raises StillInProgress, KeyReused, NotAwaited, and what `start` raises.
    """
    with transaction.atomic():
        if made is not None:
            kept_answers.take_until_commit(made.asked)
            earlier = _earlier(made)
            if earlier is not None:
                exchange.tell(REPLAYED.lower().encode(), b"true")
                return earlier
        if not exchange.is_awaited:
            raise NotAwaited
        run = start()
        if made is not None:
            text = json_of({"run": str(run)}).decode()
            kept_answers.keep(made.asked, text, status=200, headers={})
    return run


def _earlier(made: Try) -> UUID | None:
    kept = None if made.is_first else kept_answers.found(made.asked, within=made.within)
    if kept is None:
        return None
    kept_answers.keep_longer(made.asked)
    return UUID(kept.data["run"])
