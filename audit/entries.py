"""The only place that says what an entry is made of, and the bytes of its leaf. No Django."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import orjson

from audit import canonical
from audit.errors import Problem
from audit.events import Actor, Event, data_of
from audit.ids import new_id

# C2SP tlog-tiles writes an entry's length in 16 bits. The header (everything but the event's own
# data) is bounded by the columns' CHECK constraints and stays below what is kept for it here.
MAX_ENTRY_BYTES = 65_535
MAX_DATA_BYTES = MAX_ENTRY_BYTES - 3_071
MAX_NAME_BYTES = 255


class EntryTooLarge(Problem):
    """The event {kind} has {bytes} bytes; an entry holds at most {limit} bytes of event data."""

    code = "entry_too_large"
    status = 413


class ActorMalformed(Problem):
    """An actor's {field} must be at most 255 bytes of text without control characters."""

    code = "actor_malformed"
    status = 422


class Draft(msgspec.Struct, frozen=True):
    """An entry before it is recorded: `payload` is the event's data as canonical JSON."""

    id: UUID
    kind: str
    correlation: UUID | None
    actor: Actor
    payload: bytes


def draft(event: Event, *, actor: Actor, correlation: UUID | None = None) -> Draft:
    """An entry of `event`, with a fresh id.

    Raises EntryTooLarge, ActorMalformed, canonical.NotCanonical.
    """
    for field in ("id", "version", "on_behalf_of"):
        if not _is_name(getattr(actor, field) or ""):
            raise ActorMalformed(field=field)
    payload = canonical.encode(data_of(event))
    if len(payload) > MAX_DATA_BYTES:
        raise EntryTooLarge(kind=event.kind, bytes=len(payload), limit=MAX_DATA_BYTES)
    return Draft(new_id(), event.kind, correlation, actor, payload)


def _is_name(value: str) -> bool:
    return value.isprintable() and len(value.encode()) <= MAX_NAME_BYTES


def leaf_bytes(entry: Draft, *, origin: str, recorded_at: datetime) -> bytes:
    """The canonical JSON of an entry as it was recorded: what the log's tree is made of.

    A function of the row alone, so sequencer and exporter always compose the same bytes.
    """
    # The keys stand in canonical order, and a Fragment goes in as the bytes it is.
    return orjson.dumps(
        {
            "actor": {
                "id": entry.actor.id,
                "kind": entry.actor.kind,
                "on_behalf_of": entry.actor.on_behalf_of,
                "version": entry.actor.version,
            },
            "correlation": entry.correlation,
            "event": orjson.Fragment(entry.payload),
            "id": entry.id,
            "kind": entry.kind,
            "log": origin,
            "recorded_at": rfc3339(recorded_at),
        }
    )


def rfc3339(moment: datetime) -> str:
    """`moment` in UTC with microseconds, as in 2026-03-02T12:00:00.000000Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


# What the caller supplies of an entry's row, and as what. The database adds when it was recorded.
SUPPLIED = {
    "id": "uuid",
    "kind": "text",
    "correlation": "uuid",
    "actor_kind": "text",
    "actor_id": "text",
    "actor_version": "text",
    "on_behalf_of": "text",
    "payload": "bytea",
}
_NAMES = ", ".join(SUPPLIED)
_ARRAYS = ", ".join(f"%s::{type_}[]" for type_ in SUPPLIED.values())

# Takes `columns_of`. The log is that of the role that runs this, and never an argument.
RECORD = f"""
WITH own AS (SELECT id FROM audit.log WHERE role_name = current_user),
written AS (
    INSERT INTO audit.entry (log_id, {_NAMES})
    SELECT own.id, made.* FROM own, unnest({_ARRAYS}) AS made ({_NAMES})
    RETURNING log_id, id
)
INSERT INTO audit.pending (log_id, entry_id) SELECT log_id, id FROM written
"""  # noqa: S608 - made of the names above


def columns_of(drafts: Sequence[Draft]) -> list[list[Any]]:
    """What is supplied of the rows of `drafts`: a list a column of SUPPLIED, a value a draft."""
    return [list(column) for column in zip(*map(_supplied, drafts), strict=True)]


def _supplied(entry: Draft) -> tuple[Any, ...]:
    actor = entry.actor
    who = (actor.kind, actor.id, actor.version, actor.on_behalf_of)
    return (entry.id, entry.kind, entry.correlation, *who, entry.payload)


# A row as `leaf_of_row` wants it, of the tables audit.entry and audit.log.
ROW = ", ".join([*(f"entry.{name}" for name in SUPPLIED), "entry.recorded_at", "log.origin"])


def leaf_of_row(row: Sequence[Any]) -> bytes:
    """The leaf's bytes of a row of the columns ROW."""
    id_, kind, correlation, *who, payload, recorded_at, origin = row
    entry = Draft(id_, kind, correlation, Actor(*who), bytes(payload))
    return leaf_bytes(entry, origin=origin, recorded_at=recorded_at)
