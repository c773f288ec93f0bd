"""The only place that finds what was begun and has no outcome, in the acting tenant's ledger."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from audit import queries
from audit.models import Entry

PATIENCE = timedelta(minutes=30)
"""After so long nobody waits for an outcome. The verifier calls it missing after an hour."""

SLACK = timedelta(hours=1)
RECONCILED = "ledger.reconciled"

# By the bytes, in which a quote within a text is escaped: no JSON that PostgreSQL can't take apart
# stops the look. What was begun again under its idempotency key is the next one's to end.
UNSETTLED = r"""
SELECT begun.id FROM audit.entry AS begun
CROSS JOIN LATERAL (SELECT convert_from(begun.payload, 'UTF8') AS said) AS event
CROSS JOIN LATERAL (SELECT substring(said FROM '"decision":"[0-9a-f-]*"') AS decision,
    substring(said FROM '"idempotency_key":"[^"]*"') AS key) AS names
WHERE begun.log_id = %(log)s AND begun.kind = 'effect.begun' AND begun.id >= %(first)s
  AND begun.correlation IS NOT NULL
  AND begun.recorded_at < clock_timestamp() - make_interval(secs => %(patience)s)
  AND NOT EXISTS (
    SELECT FROM audit.entry AS later
    WHERE later.log_id = begun.log_id AND later.correlation = begun.correlation
      AND (later.kind IN ('effect.ended', 'effect.failed', 'effect.unknown')
           AND position(convert_to(names.decision, 'UTF8') IN later.payload) > 0
        OR later.kind = 'effect.begun' AND later.recorded_at > begun.recorded_at
           AND position(convert_to(names.key, 'UTF8') IN later.payload) > 0))
"""
SOME = f"{UNSETTLED} ORDER BY begun.id LIMIT %(most)s"
THIS = f"{UNSETTLED} AND begun.id = %(first)s"


class Begun(NamedTuple):
    """An effect without an outcome, as the entry of its beginning names it."""

    id: UUID
    correlation: UUID
    intent: str
    action: str
    resource: str
    step: int | None
    decision: str


def found(*, patience: timedelta = PATIENCE, most: int) -> list[Begun]:
    """What was begun longer than `patience` ago and has no outcome, oldest first, up to `most`.

    What was begun long before the last reconciliation is not looked at again: all of that was
    settled then. Raises roles.NoLedger.
    """
    log = queries.own_log()
    seconds = patience.total_seconds()
    with connection.cursor() as cursor:
        cursor.execute(
            SOME, {"log": log.pk, "first": _first_id(), "patience": seconds, "most": most}
        )
        ids = [id_ for (id_,) in cursor.fetchall()]
    entries = queries.entries().filter(pk__in=ids).order_by("pk")
    return [_begun(entry, of) for entry in entries if (of := entry.correlation)]


def is_still(begun: Begun) -> bool:
    """Whether it has no outcome yet, now that the caller has a lock or none is needed."""
    log = queries.own_log()
    with connection.cursor() as cursor:
        cursor.execute(THIS, {"log": log.pk, "first": begun.id, "patience": 0})
        return cursor.fetchone() is not None


def _first_id() -> UUID:
    """The least id (UUIDv7: milliseconds first) of what has to be looked at."""
    last = queries.entries(kind=RECONCILED).first()
    if last is None:
        return UUID(int=0)
    since: datetime = last.recorded_at - PATIENCE - SLACK
    return UUID(int=int(since.timestamp() * 1000) << 80)


def _begun(entry: Entry, correlation: UUID) -> Begun:
    event = entry.event
    names = (event["intent"], event["action"], event["resource"], event["step"], event["decision"])
    return Begun(entry.pk, correlation, *names)
