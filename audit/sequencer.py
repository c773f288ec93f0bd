"""The only place that seals entries into a log's tree, and publishes its checkpoints.

An entry is *recorded* when its transaction commits: it survives a crash, and waits in `pending`.
It is *sealed* when the batch that gave it an index commits: index, leaf hash and tree head stand
or fall together, and a batch that was cut off is simply pending again. The tree head is
*published* once its signed checkpoint is stored, which happens only after the sealing commit; a
crash between the two is made good in the next cycle.

One sequencer a log at a time: an advisory lock that lasts as long as the transaction (so it works
behind transaction pooling), and the primary key of `leaf` fences whoever got past it.
Non-goal: it does not judge what it seals. MUST NOT run with UPDATE on any table.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection, Cursor, Error, OperationalError

from audit import checkpoints, proofs, recoveries, roles, rotations, stored_tiles
from audit.checkpoints import Checkpoint
from audit.entries import RECORDED, SUPPLIED, leaf_of_row
from audit.errors import Problem
from audit.guard import Guard, GuardUnusable
from audit.note_keys import PrivateKey
from audit.proofs import Frontier
from audit.signing import LedgerKeyUnusable
from audit.tiles import Tiling

BATCH = 2_000
CORRELATION = list(SUPPLIED).index("correlation")

# Settings of a server on which a commit lasts.
MUST_BE_ON = ("fsync", "full_page_writes", "synchronous_commit")
NOT_SEALED = "The ledger %s can't be sealed; its entries stay pending."

logger = logging.getLogger(__name__)

# Logs with something to seal, or with a tree head that was not published.
OUTSTANDING = """
SELECT log.id FROM audit.log
WHERE EXISTS (SELECT FROM audit.pending WHERE log_id = log.id)
   OR (SELECT max(size) FROM audit.tree_head WHERE log_id = log.id)
      > coalesce((SELECT max(size) FROM audit.checkpoint WHERE log_id = log.id), 0)
ORDER BY log.id
"""

BEHIND = """
SELECT EXISTS (
  SELECT FROM audit.pending JOIN audit.entry
    ON entry.log_id = pending.log_id AND entry.id = pending.entry_id
  WHERE entry.recorded_at < clock_timestamp() - make_interval(secs => %(seconds)s)
) OR EXISTS (
  SELECT FROM audit.log CROSS JOIN LATERAL (
    SELECT created_at FROM audit.tree_head WHERE log_id = log.id
      AND size > (SELECT coalesce(max(size), 0) FROM audit.checkpoint WHERE log_id = log.id)
    ORDER BY size LIMIT 1
  ) AS unpublished
  WHERE unpublished.created_at < clock_timestamp() - make_interval(secs => %(seconds)s)
)
"""

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('audit.sequencer ' || %s::text, 0))"
ORIGIN = "SELECT origin FROM audit.log WHERE id = %s"
HEAD = "SELECT size, frontier FROM audit.tree_head WHERE log_id = %s ORDER BY size DESC LIMIT 1"

# A batch is in the order of recording; an entry whose transaction took long comes later.
# By keys, not joins: the plan stays the same without statistics.
TAKE = """
DELETE FROM audit.pending WHERE log_id = %(log)s AND ordinal = ANY(ARRAY(
    SELECT ordinal FROM audit.pending WHERE log_id = %(log)s ORDER BY ordinal LIMIT %(limit)s
)) RETURNING ordinal, entry_id
"""
READ = f"SELECT {RECORDED} FROM audit.entry WHERE log_id = %s AND id = ANY(%s)"  # noqa: S608
# The newest leaf of each correlation.
NEWEST = """
SELECT asked.correlation, newest.sequence, newest.leaf_hash
FROM unnest(%s::uuid[]) AS asked (correlation)
CROSS JOIN LATERAL (
    SELECT sequence, leaf_hash FROM audit.leaf
    WHERE log_id = %s AND leaf.correlation = asked.correlation ORDER BY sequence DESC LIMIT 1
) AS newest
"""

ADD_LEAVES = """
INSERT INTO audit.leaf (log_id, index, entry_id, correlation, sequence, previous, leaf_hash)
SELECT %s, %s + ordinality - 1, made.entry_id, made.correlation, made.sequence, made.previous,
    made.leaf_hash
FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bytea[], %s::bytea[])
    WITH ORDINALITY AS made (entry_id, correlation, sequence, previous, leaf_hash, ordinality)
"""
ADD_TILES = """
INSERT INTO audit.tile (log_id, level, index, hashes, root)
SELECT %s, made.* FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[], %s::bytea[]) AS made
"""
ADD_HEAD = "INSERT INTO audit.tree_head (log_id, size, root, frontier) VALUES (%s, %s, %s, %s)"

UNPUBLISHED = """
SELECT origin, size, root FROM audit.tree_head JOIN audit.log ON log.id = log_id
WHERE log_id = %(log)s
  AND size > (SELECT coalesce(max(size), 0) FROM audit.checkpoint WHERE log_id = %(log)s)
ORDER BY size DESC LIMIT 1
"""
PUBLISH = """
INSERT INTO audit.checkpoint (log_id, size, note, verifier_key) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""


class EntryMissing(Problem):
    """The entry {entry} of the ledger {log} waits to be sealed, and is not there."""

    code = "entry_missing"
    status = 500


class Leaf(NamedTuple):
    """An entry's leaf, and its place in its correlation."""

    entry_id: UUID
    correlation: UUID | None
    sequence: int | None
    previous: bytes | None
    leaf_hash: bytes


class Cycle(NamedTuple):
    """What one look at all logs did."""

    logs: int
    sealed: int
    failed: int

    @property
    def is_busy(self) -> bool:
        """Whether the next one should come at once. What fails would fail, and be said, as fast."""
        return self.sealed > 0 and not self.failed


def run_once(connection: Connection, *keys: PrivateKey, guard: Guard, batch: int = BATCH) -> Cycle:
    """Seal one batch of each log that waits, and publish each new tree head, signed with those of
    `keys` that the log says (audit.rotations).

    `connection` is of the login role. A log that can't be sealed does not hold up the others, nor
    does one that is halted, since its database is behind what `guard` knows was signed.
    Raises psycopg.OperationalError when the database is away, and LedgerKeyUnusable once all logs
    are done if one could not be signed; calling again is always safe.
    """
    logs = outstanding(connection)
    sealed = failed = 0
    unusable: LedgerKeyUnusable | None = None
    for log in logs:
        words = NOT_SEALED
        try:
            if not is_halted(connection, log, guard):
                sealed += seal(connection, log, limit=batch)
                words = "The ledger %s is sealed, and can't be published."
                publish(connection, log, *keys, guard=guard)
        except OperationalError:
            raise
        except LedgerKeyUnusable as problem:
            unusable = unusable or problem
        except (Error, ValueError, OSError, Problem):
            failed += 1
            logger.exception(words, log)
    if unusable:
        raise unusable
    return Cycle(len(logs), sealed, failed)


def outstanding(connection: Connection) -> list[UUID]:
    """The logs that have pending entries or an unpublished tree head."""
    with connection.transaction(), connection.cursor() as cursor, _as_sequencer(connection, cursor):
        return [log for (log,) in cursor.execute(OUTSTANDING).fetchall()]


def is_behind(connection: Connection, *, seconds: float) -> bool:
    """Whether an entry of any log waits for longer than `seconds` to be sealed or published."""
    with connection.transaction(), connection.cursor() as cursor, _as_sequencer(connection, cursor):
        row = cursor.execute(BEHIND, {"seconds": seconds}).fetchone()
    return row == (True,)


def seal(connection: Connection, log: UUID, *, limit: int = BATCH) -> int:
    """Give up to `limit` pending entries of `log` their indexes, in one transaction; how many.

    1. Take the log's lock, or leave it to whoever has it. 2. Read the tree head. 3. Take a batch
    off the queue. 4. Write leaves and the new head. All of it commits, or none.
    Raises EntryMissing.
    """
    with connection.transaction(), connection.cursor() as cursor, _as_sequencer(connection, cursor):
        locked = cursor.execute(LOCK, [log]).fetchone()
        if locked != (True,):
            return 0
        taken = cursor.execute(TAKE, {"log": log, "limit": limit}).fetchall()
        if taken:
            _extend(cursor, log, _leaves(cursor, log, [id_ for _, id_ in sorted(taken)]))
    return len(taken)


def _leaves(cursor: Cursor[Any], log: UUID, ids: list[UUID]) -> list[Leaf]:
    """The leaves of these entries, in this order: each takes the next place in its correlation."""
    (origin,) = cursor.execute(ORIGIN, [log]).fetchone() or (None,)
    rows = {row[0]: row for row in cursor.execute(READ, [log, ids]).fetchall()}
    if missing := [id_ for id_ in ids if id_ not in rows]:
        raise EntryMissing(entry=str(missing[0]), log=str(log))
    runs = list({rows[id_][CORRELATION] for id_ in ids} - {None})
    newest: dict[UUID, tuple[int, bytes]] = {
        run: (sequence, leaf_hash)
        for run, sequence, leaf_hash in cursor.execute(NEWEST, [runs, log]).fetchall()
    }
    leaves = []
    for id_ in ids:
        run = rows[id_][CORRELATION]
        before, previous = newest.get(run, (-1, None))
        sequence = before + 1 if run else None
        made = proofs.leaf_hash(leaf_of_row((*rows[id_], sequence, previous, origin)))
        leaves.append(Leaf(id_, run, sequence, previous, made))
        if sequence is not None:
            newest[run] = (sequence, made)
    return leaves


def _extend(cursor: Cursor[Any], log: UUID, leaves: Sequence[Leaf]) -> None:
    tree = Frontier(*(cursor.execute(HEAD, [log]).fetchone() or (0, [])))
    # The hashes of partial tiles are read from leaves, so the new ones are written afterwards.
    tiling = Tiling(tree, stored_tiles.reader(cursor, log))
    filled = tiling.extend([leaf.leaf_hash for leaf in leaves])
    cursor.execute(ADD_LEAVES, [log, tree.size, *map(list, zip(*leaves, strict=True))])
    columns = [list(column) for column in zip(*map(astuple, filled), strict=True)]
    if columns:
        cursor.execute(ADD_TILES, [log, *columns])
    grown = tiling.frontier()
    cursor.execute(ADD_HEAD, [log, grown.size, grown.root(), grown.roots])


def is_halted(connection: Connection, log: UUID, guard: Guard) -> bool:
    """Whether the database lost what was signed of `log`, and nobody has approved a recovery."""
    with connection.transaction(), connection.cursor() as cursor, _as_sequencer(connection, cursor):
        return not recoveries.may_be_signed(cursor, log, guard)


def check_all(connection: Connection, guard: Guard) -> list[UUID]:
    """Halt every log of which the database lost what was signed; those that it names.

    For the sequencer's start: a log that nobody writes to would not be looked at otherwise. What
    `guard` knows of a log that the database does not even name is told, and halts nothing.
    """
    with connection.transaction(), connection.cursor() as cursor, _as_sequencer(connection, cursor):
        logs = {log for (log,) in cursor.execute("SELECT id FROM audit.log").fetchall()}
    for log in guard.logs():
        if log not in logs:
            logger.critical("The ledger %s was signed, and the database has no such ledger.", log)
    halts = []
    for log in sorted(logs & guard.logs()):
        try:
            halts += [log] if is_halted(connection, log, guard) else []
        except GuardUnusable:
            logger.exception(NOT_SEALED, log)
    return halts


def halted(connection: Connection) -> list[UUID]:
    """The logs that are not sealed and signed until two people approve a recovery."""
    with connection.transaction(), connection.cursor() as cursor, _as_sequencer(connection, cursor):
        return recoveries.halted_logs(cursor)


def publish(
    connection: Connection, log: UUID, *keys: PrivateKey, guard: Guard
) -> Checkpoint | None:
    """Sign and store the newest tree head's checkpoint, or None if it is published already.

    `guard` has it before the database does: a crash between the two leaves a checkpoint that is
    signed again, and not one that is forgotten. The log's lock keeps two sequencers that share a
    guard's folder in order; who has it publishes. Raises OSError where it can't be kept.
    """
    with connection.transaction(), connection.cursor() as cursor, _as_sequencer(connection, cursor):
        locked = cursor.execute(LOCK, [log]).fetchone()
        row = cursor.execute(UNPUBLISHED, {"log": log}).fetchone()
        if locked != (True,) or row is None:
            return None
        checkpoint = Checkpoint(*row)
        chosen = rotations.choose(cursor, log, checkpoint, keys)
        if not chosen:
            return None
        note = checkpoints.sign(checkpoint, *chosen)
        guard.remember(log, note)
        signers = [checkpoints.log_key(checkpoint.origin, key).verifier for key in chosen]
        cursor.execute(PUBLISH, [log, checkpoint.size, note, "\n".join(map(str, signers))])
    return checkpoint


def _as_sequencer(connection: Connection, cursor: Cursor[Any]) -> Any:
    return roles.acting_as(cursor, roles.sequencer_of(connection.info.dbname))
