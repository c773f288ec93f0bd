"""The only place that takes published checkpoints outside and keeps what comes back.

Each place (audit.places) has a thread and a connection of its own, so that one which is slow or
away holds up neither sealing nor the others. What fails is said, and tried again after a while:
with the place as a whole where it can't be reached, else with that log alone. A checkpoint that a
newer one has overtaken meanwhile is not made up for: the newest vouches for all before it.

Where a place holds another history of a log, the log is halted (audit.recoveries).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import Connection, Cursor, Error

from audit import checkpoints, recoveries, roles
from audit.checkpoints import Checkpoint
from audit.errors import Problem
from audit.places import AnotherHistory, Begin, Due, Place, PlaceUnreachable

PAUSE_SECONDS = 1.0
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 30.0
# How long the end of the process waits for what is under way; it is asked anew at the next start.
GRACE_SECONDS = 5.0

logger = logging.getLogger(__name__)

NEWEST = """
SELECT log.id, log.origin, newest.* FROM audit.log CROSS JOIN LATERAL (
    SELECT size, created_at FROM audit.checkpoint WHERE log_id = log.id ORDER BY size DESC LIMIT 1
) AS newest ORDER BY log.id
"""
NOTE = "SELECT note FROM audit.checkpoint WHERE log_id = %s AND size = %s"


class Newest(NamedTuple):
    """A log and its newest checkpoint. A database that was rolled back may repeat the size."""

    log: UUID
    origin: str
    size: int
    created_at: datetime


class Waits:
    """Until when not to try again, for a log or for a place (None): twice as long each time."""

    def __init__(self) -> None:
        self._failed: dict[UUID | None, tuple[float, float]] = {}

    def is_over(self, whose: UUID | None) -> bool:
        """Whether it is time to try."""
        return time.monotonic() >= self._failed.get(whose, (0.0, 0.0))[0]

    def begin(self, whose: UUID | None) -> float:
        """It failed: wait, and for how many seconds."""
        _, last = self._failed.get(whose, (0.0, 0.0))
        seconds = min(max(last * 2, FIRST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
        self._failed[whose] = (time.monotonic() + seconds, seconds)
        return seconds

    def end(self, *whose: UUID | None) -> None:
        """It worked."""
        for each in whose:
            self._failed.pop(each, None)


class Anchoring:
    """What one place has, as far as this process knows, and what it is to be asked again."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._had: dict[UUID, Newest] = {}
        self._waits = Waits()

    def round(self, connection: Connection, now: datetime, stop: threading.Event) -> None:
        """Take each log's newest checkpoint to the place, if it wants it.

        Raises psycopg.Error; calling again is always safe.
        """
        if not self._waits.is_over(None):
            return
        begin: Begin = partial(_as_sequencer, connection)
        for newest in _published(begin):
            if stop.is_set():
                return
            if self._had.get(newest.log) == newest or not self._waits.is_over(newest.log):
                continue
            due = self._due(begin, newest)
            try:
                if due is not None and self._is_taken(begin, newest, due, now):
                    self._had[newest.log] = newest
            except PlaceUnreachable as problem:
                self._failed(None, newest, problem)
                return

    def _due(self, begin: Begin, newest: Newest) -> Due | None:
        with begin() as cursor:
            if not self._place.wants(cursor, newest.log, newest.origin, newest.size):
                return None
            if recoveries.open_halts(cursor, newest.log):
                return None
            cursor.execute(NOTE, [newest.log, newest.size])
            (note,) = cursor.fetchone()
        return Due(newest.log, checkpoints.read(note), note)

    def _is_taken(self, begin: Begin, newest: Newest, due: Due, now: datetime) -> bool:
        """Whether the place has it now. Raises PlaceUnreachable."""
        try:
            self._place.take(begin, due, now)
        except PlaceUnreachable:
            raise
        except (Problem, OSError, ValueError) as problem:
            self._failed(due.log, newest, problem)
            if isinstance(problem, AnotherHistory):
                _halt(begin, due, problem)
            return False
        self._waits.end(None, due.log)
        return True

    def _failed(self, whose: UUID | None, newest: Newest, problem: Exception) -> None:
        logger.warning(
            "%s did not take the checkpoint over %s entries of %s (%s): %s Trying again in %.0f s.",
            self._place.name,
            newest.size,
            newest.origin,
            getattr(problem, "code", type(problem).__name__),
            problem,
            self._waits.begin(whose),
        )


@contextlib.contextmanager
def running(
    places: Sequence[Place], parameters: dict[str, Any], clock: Callable[[], datetime]
) -> Iterator[None]:
    """Take checkpoints to all `places` in the background, while the block runs."""
    stop = threading.Event()
    threads = [
        # A place that does not answer must not keep the process from ending.
        threading.Thread(target=run, args=(stop, place, parameters, clock), daemon=True)
        for place in places
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))


def run(
    stop: threading.Event, place: Place, parameters: dict[str, Any], clock: Callable[[], datetime]
) -> None:
    """Take checkpoints to `place` until `stop` is set. A lost database is waited for."""
    anchoring = Anchoring(place)
    logger.info("%s gets the checkpoints.", place.name)
    while not stop.is_set():
        try:
            with psycopg.connect(**parameters, autocommit=True) as connection:
                while not stop.wait(PAUSE_SECONDS):
                    anchoring.round(connection, clock(), stop)
        except Error as problem:
            logger.warning("%s waits for the database (%s).", place.name, str(problem).strip())
            stop.wait(FIRST_WAIT_SECONDS)


def _published(begin: Begin) -> list[Newest]:
    with begin() as cursor:
        cursor.execute(NEWEST)
        return [Newest(*row) for row in cursor.fetchall()]


def _halt(begin: Begin, due: Due, problem: AnotherHistory) -> None:
    seen = Checkpoint(
        due.checkpoint.origin, problem.details["size"], bytes.fromhex(problem.details["root"])
    )
    with begin() as cursor:
        recoveries.halt(cursor, due.log, seen, str(problem))


@contextlib.contextmanager
def _as_sequencer(connection: Connection) -> Iterator[Cursor[Any]]:
    role = roles.sequencer_of(connection.info.dbname)
    with connection.transaction(), connection.cursor() as cursor, roles.acting_as(cursor, role):
        yield cursor
