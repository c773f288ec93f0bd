"""The only place that says what an entry is made of, and the bytes of its leaf. No Django."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import orjson

from audit import bodies, canonical
from audit.bodies import Part, Parts, Subject
from audit.commitments import derived_salt, new_salt
from audit.errors import Problem
from audit.events import Actor, Event, data_of, private_fields
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


class SubjectNeeded(Problem):
    """The event {kind} is about a person, whose key was not given."""

    code = "subject_needed"
    status = 500


class Draft(msgspec.Struct, frozen=True):
    """An entry before it is recorded: `payload` is the event's data as canonical JSON.

    `body` holds what is private of it, encrypted, and is None where nothing is.
    """

    id: UUID
    kind: str
    correlation: UUID | None
    actor: Actor
    subject: UUID | None
    payload: bytes
    body: bytes | None = None


class Stamp(msgspec.Struct, frozen=True):
    """What is added to a draft: when it was recorded, which the database stamps, and its place
    within its correlation, which the sequencer gives it together with its index.
    """

    occurred_at: datetime
    recorded_at: datetime
    sequence: int | None
    previous: bytes | None


def needs_subject(event: Event, actor: Actor) -> bool:
    """Whether an entry of `event` is about a person, so that `draft` wants their key."""
    fields = private_fields(type(event))
    return actor.is_for_a_name or any(getattr(event, name) is not None for name in fields)


def draft(
    event: Event,
    *,
    actor: Actor,
    correlation: UUID | None = None,
    subject: Subject | None = None,
) -> Draft:
    """An entry of `event`, with a fresh id. A name in `actor` becomes the subject's pseudonym.

    Raises EntryTooLarge, ActorMalformed, SubjectNeeded, canonical.NotCanonical.
    """
    for field in ("id", "version"):
        if not _is_name(getattr(actor, field) or ""):
            raise ActorMalformed(field=field)
    if not needs_subject(event, actor):
        payload = _payload(event, {})
        return Draft(new_id(), event.kind, correlation, actor, None, payload)
    if subject is None:
        raise SubjectNeeded(kind=event.kind)
    if actor.is_for_a_name:
        actor = msgspec.structs.replace(actor, on_behalf_of=str(subject.id))
    id_, parts = new_id(), _parts(event, subject)
    payload = _payload(event, {name: part.commitment for name, part in parts.items()})
    body = bodies.seal(parts, subject, id_) if parts else None
    return Draft(id_, event.kind, correlation, actor, subject.id, payload, body)


def _payload(event: Event, commitments: dict[str, str]) -> bytes:
    payload = canonical.encode({**data_of(event), **commitments})
    if len(payload) > MAX_DATA_BYTES:
        raise EntryTooLarge(kind=event.kind, bytes=len(payload), limit=MAX_DATA_BYTES)
    return payload


def _parts(event: Event, subject: Subject) -> Parts:
    parts = {}
    for name, is_bound in private_fields(type(event)).items():
        value = getattr(event, name)
        if value is not None:
            salt = derived_salt(subject.key, value) if is_bound else new_salt()
            parts[name] = Part(salt, value)
    return parts


def _is_name(value: str) -> bool:
    return value.isprintable() and len(value.encode()) <= MAX_NAME_BYTES


def leaf_bytes(entry: Draft, stamp: Stamp, *, origin: str) -> bytes:
    """The canonical JSON of an entry as it was recorded: what the log's tree is made of.

    A function of its rows alone, so the sequencer, which hashes it, and whoever exports it always
    compose the same bytes.
    """
    # The keys stand in canonical order, and a Fragment goes in as the bytes it is.
    return orjson.dumps(
        {
            "actor": {
                "id": entry.actor.id,
                "kind": entry.actor.kind,
                "means": entry.actor.means,
                "on_behalf_of": entry.actor.on_behalf_of,
                "version": entry.actor.version,
            },
            "correlation": entry.correlation,
            "event": orjson.Fragment(entry.payload),
            "id": entry.id,
            "kind": entry.kind,
            "log": origin,
            "occurred_at": rfc3339(stamp.occurred_at),
            "previous": stamp.previous.hex() if stamp.previous else None,
            "recorded_at": rfc3339(stamp.recorded_at),
            "sequence": stamp.sequence,
            "subject": entry.subject,
        }
    )


def rfc3339(moment: datetime) -> str:
    """`moment` in UTC with microseconds, as in 2026-03-02T12:00:00.000000Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


# What the caller supplies of an entry's row, and as what. The database stamps the rest.
SUPPLIED = {
    "id": "uuid",
    "kind": "text",
    "correlation": "uuid",
    "actor_kind": "text",
    "actor_id": "text",
    "actor_version": "text",
    "actor_means": "text",
    "on_behalf_of": "text",
    "subject": "uuid",
    "payload": "bytea",
}
_NAMES = ", ".join(SUPPLIED)
_MADE = ", ".join(
    f"convert_to(made.{name}, 'UTF8')" if type_ == "bytea" else f"made.{name}"
    for name, type_ in SUPPLIED.items()
)
_SHAPE = ", ".join(
    f"{name} {'text' if type_ == 'bytea' else type_}" for name, type_ in SUPPLIED.items()
)

# The log is that of the role that runs these, and never an argument. One entry goes as its columns,
# and many as one JSON parameter: each is the fastest at what it is for (bench/ledger.py).
_RECORD_ONE = f"""
INSERT INTO audit.entry (log_id, {_NAMES})
SELECT log.id, {", ".join(["%s"] * len(SUPPLIED))}
FROM audit.log WHERE log.role_name = current_user
"""  # noqa: S608 - made of the names above
_RECORD_MANY = f"""
INSERT INTO audit.entry (log_id, {_NAMES})
SELECT log.id, {_MADE}
FROM audit.log, json_to_recordset(%s) AS made ({_SHAPE}) WHERE log.role_name = current_user
"""  # noqa: S608 - made of the names above
# Who was erased a moment ago has no key any more, and a body that nobody could open is not kept.
_KEEP = """
INSERT INTO audit.body (log_id, entry_id, subject, sealed)
SELECT log.id, made.id, made.subject, decode(made.body, 'base64')
FROM audit.log, json_to_recordset(%s) AS made (id uuid, subject uuid, body text)
WHERE log.role_name = current_user
  AND EXISTS (SELECT FROM audit.subject_key AS key WHERE key.id = made.subject)
"""

Statement = tuple[str, list[Any]]


def recording(drafts: Sequence[Draft]) -> Statement:
    """The one statement that records `drafts`, as the role whose log it is; each is one row."""
    if len(drafts) == 1:
        return _RECORD_ONE, list(_supplied(drafts[0]))
    rows = [dict(zip(SUPPLIED, _supplied(entry), strict=True)) for entry in drafts]
    for row in rows:
        row["payload"] = row["payload"].decode()
    return _RECORD_MANY, [orjson.dumps(rows).decode()]


def keeping(drafts: Sequence[Draft]) -> Statement | None:
    """What keeps the bodies of `drafts` in the same transaction. None: there are none."""
    rows = [
        {"id": entry.id, "subject": entry.subject, "body": base64.b64encode(entry.body).decode()}
        for entry in drafts
        if entry.body
    ]
    return (_KEEP, [orjson.dumps(rows).decode()]) if rows else None


def _supplied(entry: Draft) -> tuple[Any, ...]:
    actor = entry.actor
    who = (actor.kind, actor.id, actor.version, actor.means, actor.on_behalf_of)
    return (entry.id, entry.kind, entry.correlation, *who, entry.subject, entry.payload)


# A recorded entry's row of audit.entry, and a sealed one's of that with audit.leaf and audit.log.
RECORDED = ", ".join(f"entry.{name}" for name in (*SUPPLIED, "occurred_at", "recorded_at"))
ROW = f"{RECORDED}, leaf.sequence, leaf.previous, log.origin"
SEALED = """audit.leaf
JOIN audit.log ON log.id = leaf.log_id
JOIN audit.entry ON entry.log_id = leaf.log_id AND entry.id = leaf.entry_id"""
"""Where a ROW is read from: from the leaves, so that nothing that was sealed is left out."""
_COLUMNS = (*SUPPLIED, "occurred_at", "recorded_at", "sequence", "previous", "origin")


def fields_of(row: Sequence[Any]) -> dict[str, Any]:
    """The columns of a row of ROW, by name."""
    return dict(zip(_COLUMNS, row, strict=True))


def leaf_of_row(row: Sequence[Any]) -> bytes:
    """The leaf's bytes of a row of the columns ROW."""
    id_, kind, correlation, actor_kind, actor_id, version, means, on_behalf_of, *rest = row
    subject, payload, occurred_at, recorded_at, sequence, previous, origin = rest
    actor = Actor(actor_kind, actor_id, version, on_behalf_of, means)
    stamp = Stamp(occurred_at, recorded_at, sequence, bytes(previous) if previous else None)
    entry = Draft(id_, kind, correlation, actor, subject, bytes(payload))
    return leaf_bytes(entry, stamp, origin=origin)
