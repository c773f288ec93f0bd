"""The only place that halts a log whose database lost what was signed, and lets it go on.

A log is *halted* by a row of its own: the sequencer's folder (audit.guard) or a place outside
(audit.anchoring) knows of a checkpoint that the database does not hold. It is *recovered* once two
people have said so: two entries `ledger.recovery_approved` of different members that name the
halt. Both are read as recorded, since nothing is sealed meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from audit.checkpoints import Checkpoint
from audit.errors import Problem
from audit.guard import Guard
from audit.ids import new_id
from audit.roles import Cursor

logger = logging.getLogger(__name__)

APPROVERS = 2
RECOVERY_APPROVED = "ledger.recovery_approved"
LOST_HERE = "The sequencer's folder knows of a checkpoint that the database does not hold."

HEAD_AT = "SELECT root FROM audit.tree_head WHERE log_id = %s AND size = %s"
SIZE = "SELECT coalesce(max(size), 0) FROM audit.tree_head WHERE log_id = %s"
SAME_HALT = """
SELECT EXISTS (
    SELECT FROM audit.halt WHERE log_id = %s AND signed_size = %s AND signed_root = %s
)
"""
# A loss that was halted for once tells of every checkpoint up to its size: all of them may be
# outside, and each would halt the log again after its recovery.
KNOWN_LOSS = "SELECT EXISTS (SELECT FROM audit.halt WHERE log_id = %s AND signed_size >= %s)"
HALT = """
INSERT INTO audit.halt (id, log_id, signed_size, signed_root, size, reason)
VALUES (%s, %s, %s, %s, %s, %s)
"""
# Found by the bytes, in which a quote within a text is escaped: no JSON that PostgreSQL can't take
# apart (a zero character) holds a recovery up.
HALTS = """
SELECT id, signed_size, signed_root, size, reason, created_at, ARRAY(
    SELECT actor_id FROM audit.entry
    WHERE entry.log_id = halt.log_id AND entry.kind = %s AND entry.actor_kind = 'member'
      AND position(convert_to('"halt":"' || halt.id || '"', 'UTF8') IN entry.payload) > 0
    GROUP BY actor_id ORDER BY min(entry.id::text)
) FROM audit.halt WHERE log_id = %s ORDER BY created_at, id
"""


class HaltUnknown(Problem):
    """This ledger is not halted by {halt}."""

    code = "halt_unknown"
    status = 404


class RecoveryApprovedAlready(Problem):
    """You approved this recovery. Somebody else has to, too."""

    code = "recovery_approved_already"
    status = 409


class Halt(NamedTuple):
    """A loss: what was signed, how many entries the database held instead, and who knew of it.

    `approvers` are the ids of the members who approved to go on without what is lost.
    """

    id: UUID
    signed_size: int
    signed_root: bytes
    size: int
    reason: str
    created_at: datetime
    approvers: tuple[str, ...]

    @property
    def is_recovered(self) -> bool:
        """Whether enough people approved."""
        return len(self.approvers) >= APPROVERS

    @property
    def missing(self) -> int:
        """How many people have yet to approve."""
        return max(APPROVERS - len(self.approvers), 0)


def may_be_signed(cursor: Cursor, log: UUID, guard: Guard) -> bool:
    """Whether nothing speaks against sealing and signing `log`; what was lost halts it.

    As the sequencer, in its transaction. Raises GuardUnusable.
    """
    last = guard.last(log)
    is_held = last is None or holds(cursor, log, last)
    if last is not None and not is_held and not _is_halted_for(cursor, log, last):
        _halt(cursor, log, last, LOST_HERE)
    if open_halts(cursor, log):
        return False
    if not is_held:
        guard.give_up(log)
    return True


def halt(cursor: Cursor, log: UUID, seen: Checkpoint, reason: str) -> bool:
    """Halt `log`, for `seen` was signed and is not what the database holds; whether it is new.

    `reason` is a sentence that names who has seen it. A loss that is known is not halted for
    again, be it recovered or not.
    """
    cursor.execute(KNOWN_LOSS, [log, seen.size])
    if cursor.fetchone() == (True,):
        return False
    _halt(cursor, log, seen, reason)
    return True


def holds(cursor: Cursor, log: UUID, checkpoint: Checkpoint) -> bool:
    """Whether the database has this tree head of `log`."""
    cursor.execute(HEAD_AT, [log, checkpoint.size])
    row = cursor.fetchone()
    return row is not None and bytes(row[0]) == checkpoint.root


def halts(cursor: Cursor, log: UUID) -> list[Halt]:
    """Every halt that `log` ever had, oldest first."""
    cursor.execute(HALTS, [RECOVERY_APPROVED, log])
    return [_of(row) for row in cursor.fetchall()]


def open_halts(cursor: Cursor, log: UUID) -> list[Halt]:
    """The halts of `log` that too few people approved a recovery of; any of them stops signing."""
    return [each for each in halts(cursor, log) if not each.is_recovered]


def halted_logs(cursor: Cursor) -> list[UUID]:
    """The logs that are halted now. As the sequencer."""
    cursor.execute("SELECT DISTINCT log_id FROM audit.halt ORDER BY log_id")
    return [log for (log,) in cursor.fetchall() if open_halts(cursor, log)]


def _of(row: Sequence[Any]) -> Halt:
    id_, signed_size, signed_root, size, reason, created_at, approvers = row
    known = (id_, signed_size, bytes(signed_root), size, reason, created_at)
    return Halt(*known, tuple(approvers))


def _is_halted_for(cursor: Cursor, log: UUID, lost: Checkpoint) -> bool:
    cursor.execute(SAME_HALT, [log, lost.size, lost.root])
    return bool(cursor.fetchone() == (True,))


def _halt(cursor: Cursor, log: UUID, lost: Checkpoint, reason: str) -> None:
    cursor.execute(SIZE, [log])
    (size,) = cursor.fetchone()
    cursor.execute(HALT, [new_id(), log, lost.size, lost.root, size, reason])
    logger.critical(
        "The ledger %s is halted: %s entries were signed, and the database holds %s of them. %s"
        " Was a backup restored? Nothing is signed until two people approve a recovery.",
        lost.origin,
        lost.size,
        size,
        reason,
    )
