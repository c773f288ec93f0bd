"""The only place that reads who else vouches for the acting tenant's ledger, or contradicts it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from audit import checkpoints, queries, recoveries, states
from audit.entries import rfc3339
from audit.models import Checkpoint, Entry
from audit.places import SINK, TIMESTAMP, Stamp
from audit.recoveries import Halt
from audit.states import STATES, State

EXPORTED = "ledger.exported"

COSIGNATURES = """
SELECT line, verifier_key FROM audit.cosignature WHERE log_id = %s AND size = %s
ORDER BY created_at, verifier_key
"""
KEYS = """
SELECT verifier_key FROM audit.checkpoint WHERE log_id = %s GROUP BY verifier_key ORDER BY min(size)
"""
# The newest evidence that is not in our hands alone.
NEWEST = """
SELECT kind, size, created_at FROM (
    SELECT 'cosignature' AS kind, size, created_at FROM audit.cosignature WHERE log_id = %(log)s
    UNION ALL
    SELECT place, size, created_at FROM audit.anchor WHERE log_id = %(log)s
) AS outside ORDER BY size DESC, created_at DESC LIMIT 1
"""
# Who cosigned lately: a log has a cosignature a second, and no index has them by witness.
WITNESSES = """
SELECT verifier_key, max(size), max(created_at) FROM (
    SELECT verifier_key, size, created_at FROM audit.cosignature
    WHERE log_id = %s ORDER BY size DESC LIMIT 10000
) AS newest GROUP BY verifier_key ORDER BY verifier_key
"""
ANCHORED = """
SELECT place, '', size, created_at FROM audit.anchor
WHERE log_id = %s AND place = %s ORDER BY size DESC LIMIT 1
"""
STAMPED = """
SELECT note, evidence FROM audit.anchor JOIN audit.checkpoint USING (log_id, size)
WHERE anchor.log_id = %s AND anchor.place = %s AND anchor.size <= %s
ORDER BY anchor.size DESC LIMIT %s
"""


class Voucher(NamedTuple):
    """Somebody else who vouches: how ("cosignature", "timestamp", "sink"), who, for what size, and
    since when. Of a witness `name` is its verifier key, else it is empty.
    """

    kind: str
    name: str
    size: int
    since: datetime


class Timestamped(NamedTuple):
    """What an authority was shown, which is a checkpoint's bare text, and what it answered."""

    size: int
    note_text: str
    stamp: Stamp


def cosigned(checkpoint: Checkpoint) -> str:
    """The checkpoint's note with the cosignatures that are known."""
    return str(checkpoint.note) + "".join(line for line, _ in _cosignatures(checkpoint))


def witness_keys(checkpoint: Checkpoint) -> list[str]:
    """The verifier keys of those who cosigned the checkpoint."""
    return [key for _, key in _cosignatures(checkpoint)]


def verifier_keys() -> list[str]:
    """The keys that the log has signed with, oldest first; one line may hold several."""
    rows = _rows(KEYS, [queries.own_log().pk])
    return list(dict.fromkeys(key for (text,) in rows for key in text.split("\n")))


def previous_export(checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint of the newest recorded export that `checkpoint` continues, or None."""
    log = queries.own_log()
    exports = Entry.objects.filter(log=log, kind=EXPORTED).order_by("-id")
    for export in exports.iterator(chunk_size=10):
        size = export.event["size"]
        # One that was asked for earlier may have ended later, and cover more.
        if size <= checkpoint.size:
            return Checkpoint.objects.filter(log=log, size=size).first()
    return None


def newest() -> dict[str, Any] | None:
    """The newest evidence outside: its kind, the size it vouches for, and since when; or None."""
    for kind, size, created_at in _rows(NEWEST, {"log": queries.own_log().pk}):
        return {"kind": kind, "size": size, "at": rfc3339(created_at)}
    return None


def vouchers() -> list[Voucher]:
    """Everybody who vouches for the ledger, each with the newest that they vouch for.

    A witness that slept while others cosigned 10,000 checkpoints is not among them any more.
    """
    log = queries.own_log().pk
    witnesses = [Voucher("cosignature", *row) for row in _rows(WITNESSES, [log])]
    places = [_rows(ANCHORED, [log, place]) for place in (TIMESTAMP, SINK)]
    return [*witnesses, *(Voucher(*row) for rows in places for row in rows)]


def timestamps(checkpoint: Checkpoint, *, most: int) -> list[Timestamped]:
    """The newest timestamps of `checkpoint` and of those before it, newest first."""
    rows = _rows(STAMPED, [checkpoint.log_id, TIMESTAMP, checkpoint.size, most])
    return [_timestamped(note, bytes(evidence)) for note, evidence in rows]


def _timestamped(note: str, evidence: bytes) -> Timestamped:
    said = checkpoints.read(note)
    return Timestamped(said.size, said.text, Stamp.read(evidence))


def configured_witnesses() -> tuple[str, ...]:
    """The verifier keys of the witnesses that the operator named for the acting tenant's ledger."""
    known = import_string(settings.LEDGER_WITNESS_KEYS)
    return tuple(known(queries.own_log().origin))


def how_far(entries: Sequence[UUID]) -> State:
    """How far all of these entries of the acting tenant are: the state of the last of them.

    They are "cosigned" under a checkpoint that a configured witness cosigned.
    """
    ((place,),) = _rows(states.HOW_FAR, states.asked(entries, configured_witnesses()))
    return STATES[int(place)]


def halts() -> list[Halt]:
    """Why the acting tenant's ledger is halted: what is not recovered yet, oldest first."""
    log = queries.own_log()
    with connection.cursor() as cursor:
        return recoveries.open_halts(cursor, log.pk)


def _cosignatures(checkpoint: Checkpoint) -> list[tuple[Any, ...]]:
    return _rows(COSIGNATURES, [checkpoint.log_id, checkpoint.size])


def _rows(query: str, parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
