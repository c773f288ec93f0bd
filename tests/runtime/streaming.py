"""The only place that says how the tests of streams record, seal and deliver."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from cast import Cast
from django.db import transaction
from sealing import seal

from audit import ledger
from runtime import delivering, streams
from runtime.events import LedgerViewed, RunResumed
from runtime.models import Stream


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def happen(cast: Cast, *names: str, kind: type = LedgerViewed) -> None:
    """Record an entry for each of the names, and publish them."""
    with transaction.atomic():
        for name in names:
            event = kind(entry=name) if kind is LedgerViewed else RunResumed(approval=name)
            ledger.record(event, actor=cast.carol.actor)
    seal()


def from_now_on(cast: Cast, kind: str, address: str, **wanted: Any) -> tuple[Stream, str | None]:
    """A stream of what is recorded from here on."""
    seal()
    made = streams.create(
        "siem",
        kind=kind,
        address=address,
        **{"cursor": None, "by": cast.alice, "now": wanted.pop("now"), **wanted},
    )
    seal()
    Stream.objects.update(cursor=ledger_size())  # past the stream's own entry
    made[0].refresh_from_db()
    return made


def ledger_size() -> int:
    """How many entries are published."""
    from audit import published

    return published.size()


def deliver(stream: Stream, clock: Clock) -> int:
    """One worker's turn; the stream as it is afterwards."""
    count = delivering.deliver(stream.pk, clock=clock)
    stream.refresh_from_db()
    return count


def names(data: list[dict[str, Any]]) -> list[str]:
    """What happened, of entries as a receiver gets them."""
    return [next(iter(each["entry"]["event"].values())) for each in data]


def is_genuine(sent: dict[str, Any]) -> bool:
    """Whether the entry hashes to the leaf hash beside it, as a stranger would compute it."""
    canonical = json.dumps(
        sent["entry"], ensure_ascii=False, separators=(",", ":"), sort_keys=True
    ).encode()
    return hashlib.sha256(b"\0" + canonical).hexdigest() == sent["leaf_hash"]
