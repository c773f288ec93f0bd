"""The only place that writes to the ledger from asyncio: many requests' entries in one commit.

Whoever awaits `record` goes on only after the COMMIT that holds its entry, so it acts on evidence
that survives a crash. A batch stands or falls together: a failed one fails everybody in it, and
then nobody acts. MUST NOT retry: after a connection is lost in COMMIT, nobody knows what was kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from audit import states
from audit.entries import Draft, draft, keeping, recording
from audit.errors import Problem
from audit.events import Actor, Event
from audit.roles import NoLedger
from audit.states import STATES, State

WINDOW_SECONDS = 0.001
# While this many commits of a role are under way, what arrives waits and makes a larger batch.
COMMITS_AT_ONCE = 2
MAX_BATCH = 1_000
# A server that was not heard of for so long holds up a tenant's requests no longer.
ANSWER_SECONDS = 5.0


class LedgerUnavailable(Problem):
    """Nothing was done, because it could not be recorded: {reason}."""

    code = "ledger_unavailable"
    status = 503


class _Waiter(NamedTuple):
    drafts: Sequence[Draft]
    done: asyncio.Future[int | None]


class _Queue:
    """What waits for one role's next commit."""

    def __init__(self) -> None:
        self.waiters: list[_Waiter] = []
        self.commits = 0
        self.scheduled = False


class GroupCommit:
    """Records entries of many roles over one pool. Belongs to one event loop.

    A commit may wait `answer_seconds` for a connection, and as long for the server's answer.
    `beside` is a query of one number, which each commit makes as its role in the same round trip:
    what it finds is newer than everything that was handed in.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        *,
        beside: LiteralString | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._pool = pool
        self._beside = beside
        self._answer_seconds = answer_seconds
        self._queues: dict[str, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def record(
        self, role: str, event: Event, *, actor: Actor, correlation: UUID | None = None
    ) -> UUID:
        """Write `event` into the ledger of `role`; the entry's id, once it is committed.

        Raises LedgerUnavailable, roles.NoLedger, entries.EntryTooLarge, canonical.NotCanonical.
        """
        (entry_id,) = await self.record_many(
            role, [draft(event, actor=actor, correlation=correlation)]
        )
        return entry_id

    async def record_many(self, role: str, drafts: Sequence[Draft]) -> list[UUID]:
        """Write `drafts` (of entries.draft) into the ledger of `role` in one commit; their ids.

        Raises LedgerUnavailable, roles.NoLedger; then none of them was recorded, or nobody can
        tell, and the caller must not act.
        """
        if drafts:
            await self.commit(role, drafts)
        return [entry.id for entry in drafts]

    async def commit(self, role: str, drafts: Sequence[Draft]) -> int | None:
        """Do the same with at least one draft, and return what the query beside it found.

        None where there is no query, or nothing was found. Raises what `record_many` raises.
        """
        waiter = _Waiter(drafts, asyncio.get_running_loop().create_future())
        queue = self._queues.setdefault(role, _Queue())
        queue.waiters.append(waiter)
        self._schedule(role, queue)
        return await waiter.done

    async def how_far(
        self, role: str, entries: Sequence[UUID], *, witnesses: Sequence[str]
    ) -> State:
        """How far all of these entries of `role` are, as in audit.states; `witnesses` are the
        verifier keys whose cosignatures count. Raises LedgerUnavailable.
        """
        seconds = self._answer_seconds
        try:
            async with self._pool.connection(timeout=seconds) as connection:
                with _answered_within(seconds, connection):
                    place = await _place_of(connection, role, states.asked(entries, witnesses))
        except (psycopg.Error, PoolTimeout, PoolClosed, OSError) as problem:
            reason = str(problem).strip() or type(problem).__name__
            raise LedgerUnavailable(reason=reason) from problem
        return STATES[place]

    async def aclose(self) -> None:
        """Wait until everything that was handed in is committed, or has failed."""
        while under_way := self._under_way():
            await asyncio.wait(under_way)

    def _under_way(self) -> list[asyncio.Future[Any]]:
        waiting = [waiter.done for queue in self._queues.values() for waiter in queue.waiters]
        return [*self._tasks, *waiting]

    def _schedule(self, role: str, queue: _Queue) -> None:
        if queue.waiters and not queue.scheduled and queue.commits < COMMITS_AT_ONCE:
            queue.scheduled = True
            asyncio.get_running_loop().call_later(WINDOW_SECONDS, self._start, role, queue)

    def _start(self, role: str, queue: _Queue) -> None:
        queue.scheduled = False
        batch, queue.waiters = queue.waiters[:MAX_BATCH], queue.waiters[MAX_BATCH:]
        queue.commits += 1
        task = asyncio.create_task(self._finish(role, queue, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._schedule(role, queue)

    async def _finish(self, role: str, queue: _Queue, batch: list[_Waiter]) -> None:
        found: int | Problem | None = LedgerUnavailable(reason="the commit was cut off")
        try:
            found = await self._commit(role, [entry for waiter in batch for entry in waiter.drafts])
        finally:
            # Also when this task is cancelled: nobody may wait for ever, or act.
            queue.commits -= 1
            self._schedule(role, queue)
            _answer(batch, found)

    async def _commit(self, role: str, drafts: list[Draft]) -> int | Problem | None:
        seconds = self._answer_seconds
        try:
            async with self._pool.connection(timeout=seconds) as connection:
                with _answered_within(seconds, connection):
                    written, found = await _write(connection, role, drafts, self._beside)
        except (psycopg.Error, PoolTimeout, PoolClosed, OSError) as problem:
            return LedgerUnavailable(reason=str(problem).strip() or type(problem).__name__)
        return found if written == len(drafts) else NoLedger(role=role)


async def _write(
    connection: psycopg.AsyncConnection[Any],
    role: str,
    drafts: list[Draft],
    beside: LiteralString | None,
) -> tuple[int, int | None]:
    """How many rows were written, and what the query beside them found."""
    looking: psycopg.AsyncCursor[Any] | None = None
    # The pipeline sends BEGIN, the role, the entries and COMMIT together: one round trip.
    async with connection.pipeline(), connection.transaction(), connection.cursor() as cursor:
        await cursor.execute("SELECT set_config('role', %s, true)", [role])
        await cursor.execute(*recording(sorted(drafts, key=_run_of)))
        if kept := keeping(drafts):
            await connection.execute(*kept)
        if beside:
            looking = await connection.execute(beside)
    row = await looking.fetchone() if looking else None
    return cursor.rowcount, row[0] if row else None


async def _place_of(
    connection: psycopg.AsyncConnection[Any], role: str, parameters: dict[str, Any]
) -> int:
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute("SELECT set_config('role', %s, true)", [role])
        await cursor.execute(states.HOW_FAR, parameters)
        row = await cursor.fetchone()
    return row[0] if row else 0


def _run_of(entry: Draft) -> bytes:
    """Sorts a batch by correlation, each in the order it came in.

    The database locks correlations in the order of the rows: in one order everywhere, so that no
    two batches wait for each other.
    """
    return entry.correlation.bytes if entry.correlation else b""


@contextlib.contextmanager
def _answered_within(seconds: float, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Hang up on a server that is silent for `seconds`; the pool then discards the connection.

    Raises TimeoutError. No `asyncio.timeout`: a query that is cancelled first asks the server to
    cancel it and waits for its answer, and a silent one is silent about that too.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _hang_up, connection)
    try:
        yield
    except psycopg.Error as lost:
        if asyncio.get_running_loop().time() < timer.when():
            raise
        raise TimeoutError(f"the database was silent for {seconds:g} seconds") from lost
    finally:
        timer.cancel()


def _hang_up(connection: psycopg.AsyncConnection[Any]) -> None:
    # Not closed here: the event loop still watches the descriptor, whose number would be reused.
    with (
        contextlib.suppress(OSError, psycopg.OperationalError),  # it is gone already
        socket.socket(fileno=os.dup(connection.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)


def _answer(batch: list[_Waiter], found: int | Problem | None) -> None:
    for waiter in batch:
        if waiter.done.done():
            continue
        if isinstance(found, Problem):
            # A fresh one for each: a traceback belongs to one task.
            waiter.done.set_exception(type(found)(**found.details))
        else:
            waiter.done.set_result(found)
