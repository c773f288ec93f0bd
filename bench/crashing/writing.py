"""The only place that records while everything is killed, and keeps what was acknowledged.

Each writer is a thread with connections of its own. What it was told is kept in this process's
memory, which nobody kills: entries whose commit was answered are *acknowledged*; those whose commit
was sent and not answered are *in doubt*; the others were *withdrawn*, and must not be there.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from itertools import count
from uuid import UUID, uuid4

import msgspec
import psycopg
from django.db import InterfaceError, OperationalError, connections, transaction
from psycopg_pool import AsyncConnectionPool

from audit import ledger
from audit.entries import Draft, draft, recording
from audit.events import SYSTEM, Actor, Event, Private
from audit.group_commit import GroupCommit, LedgerUnavailable
from tenants import isolation
from tenants.models import Tenant

RUNS = 12
MOST_SECONDS_BETWEEN = 0.15
BETWEEN_STATEMENTS = 0.005
RECONNECT_SECONDS = 0.05
ROLLED_BACK = 0.25
GROUPED = 4
CUSTOMER = Actor(kind="client_app", id="bench", on_behalf_of="customer 7")
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, OperationalError, InterfaceError)

_numbers = count()


class Happened(Event, kind="bench.crash_happened"):
    """Something happened, for the `number`th time, which is given once."""

    number: int
    words: Private[str | None] = None


class Outcome(Enum):
    """What a writer knows of its entries."""

    WITHDRAWN = "withdrawn"
    IN_DOUBT = "in_doubt"
    ACKNOWLEDGED = "acknowledged"


class Attempt(msgspec.Struct):
    """The entries of one commit, and what became of it as far as its writer was told."""

    tenant: str
    way: str
    ids: list[UUID]
    outcome: Outcome = Outcome.WITHDRAWN


class Diary:
    """All attempts, when the last one was acknowledged (of time.monotonic), and what was said to
    those that were not: of each kind of problem one.
    """

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.acknowledged_at = 0.0
        self.refusals: dict[str, str] = {}

    def refused(self, problem: Exception) -> None:
        """Keep what a writer was told."""
        self.refusals[type(problem).__name__] = str(problem).strip().partition("\n")[0]

    @contextmanager
    def attempt(self, tenant: str, way: str, *ids: UUID) -> Iterator[Attempt]:
        """A commit: in doubt from when its writer says so, acknowledged when the block ends so."""
        made = Attempt(tenant, way, list(ids))
        self.attempts.append(made)
        yield made
        if made.outcome is Outcome.IN_DOUBT:
            made.outcome = Outcome.ACKNOWLEDGED
            self.acknowledged_at = time.monotonic()


class Writers:
    """All writers of one tenant, at work until `stop` is set."""

    def __init__(self, tenant: Tenant, url: str, diary: Diary, stop: threading.Event) -> None:
        self._tenant, self._url, self._diary, self._stop = tenant, url, diary, stop
        self._runs = [uuid4() for _ in range(RUNS)]
        self._threads = ThreadPoolExecutor(max_workers=6)
        self._started = [
            *(
                self._threads.submit(self._over_a_connection, way)
                for way in (self._one, self._one, self._ten, self._several)
            ),
            self._threads.submit(self._over_django),
            self._threads.submit(lambda: asyncio.run(self._grouped())),
        ]

    def join(self) -> None:
        """Wait until the last one has stopped. Raises what none of them expected."""
        self._threads.shutdown()
        for each in self._started:
            each.result()

    def _over_a_connection(self, write: Callable[[psycopg.Connection], None]) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    query = "SELECT set_config('role', %s, false)"
                    connection.execute(query, [self._tenant.role_name])
                    while not self._stop.wait(_pause()):
                        write(connection)
            except (*AWAY, psycopg.Rollback) as problem:  # who is away answers no rollback either
                self._diary.refused(problem)
                self._stop.wait(RECONNECT_SECONDS)

    def _one(self, connection: psycopg.Connection) -> None:
        """A statement that is its own transaction."""
        made = _draft(self._run())
        with self._begun("one", made) as attempt:
            attempt.outcome = Outcome.IN_DOUBT
            connection.execute(*recording([made]))

    def _ten(self, connection: psycopg.Connection) -> None:
        """Ten entries of several runs in one statement."""
        runs = sorted((self._run() for _ in range(10)), key=lambda run: run.bytes if run else b"")
        drafts = [_draft(run) for run in runs]
        with self._begun("ten", *drafts) as attempt, connection.transaction():
            connection.execute(*recording(drafts))
            attempt.outcome = Outcome.IN_DOUBT

    def _several(self, connection: psycopg.Connection) -> None:
        """A transaction that takes its time, and is sometimes rolled back on purpose."""
        run = self._run()
        drafts = [_draft(run) for _ in range(random.randint(1, 4))]
        with self._begun("several", *drafts) as attempt, connection.transaction() as opened:
            for made in drafts:
                connection.execute(*recording([made]))
                time.sleep(random.uniform(0, BETWEEN_STATEMENTS))
            if random.random() < ROLLED_BACK:
                raise psycopg.Rollback(opened)
            attempt.outcome = Outcome.IN_DOUBT

    def _over_django(self) -> None:
        """As the application does it, with private parts."""
        while not self._stop.wait(_pause()):
            try:
                with isolation.acting_for(self._tenant):
                    self._recorded()
            except AWAY as problem:
                self._diary.refused(problem)
                connections.close_all()
                self._stop.wait(RECONNECT_SECONDS)
        connections.close_all()

    def _recorded(self) -> None:
        run = self._run()
        with self._begun("application") as attempt, transaction.atomic(durable=True):
            for _ in range(random.randint(1, 3)):
                event = Happened(number=next(_numbers), words="in confidence")
                attempt.ids.append(ledger.record(event, actor=CUSTOMER, correlation=run))
            if random.random() < ROLLED_BACK:
                transaction.set_rollback(True)
            else:
                attempt.outcome = Outcome.IN_DOUBT

    async def _grouped(self) -> None:
        """As the data plane does it: several tasks share a commit."""
        async with AsyncConnectionPool(self._url, kwargs={"autocommit": True}) as pool:
            commits = GroupCommit(pool)
            await asyncio.gather(*(self._in_a_group(commits) for _ in range(GROUPED)))
            await commits.aclose()

    async def _in_a_group(self, commits: GroupCommit) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(_pause())
            run = self._run()
            drafts = [_draft(run) for _ in range(random.randint(1, 3))]
            try:
                with self._begun("group", *drafts) as attempt:
                    attempt.outcome = Outcome.IN_DOUBT
                    await commits.record_many(self._tenant.role_name, drafts)
            except LedgerUnavailable as problem:
                self._diary.refused(problem)

    def _begun(self, way: str, *drafts: Draft) -> AbstractContextManager[Attempt]:
        return self._diary.attempt(self._tenant.slug, way, *(made.id for made in drafts))

    def _run(self) -> UUID | None:
        """None, a run that others write to as well, or from now on a new one."""
        if random.random() < 0.3:
            return None
        if random.random() < 0.1:
            self._runs[random.randrange(RUNS)] = uuid4()
        return random.choice(self._runs)


def _draft(run: UUID | None) -> Draft:
    return draft(Happened(number=next(_numbers)), actor=SYSTEM, correlation=run)


def _pause() -> float:
    return random.uniform(0, MOST_SECONDS_BETWEEN)
