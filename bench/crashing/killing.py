"""The only place that kills the sequencer and PostgreSQL, and starts them again."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import psutil
import psycopg
from crashing import sequencing
from crashing.writing import Diary

from audit import roles
from countersign import embedded

# A process is killed so long after it was seen at work, at most.
LONGEST_WORK = 0.5
PATIENCE_SECONDS = 120.0
SEQUENCER, POSTGRES = "sequencer", "postgresql"
STANDING = """
SELECT (SELECT coalesce(sum(size), 0)::bigint FROM (
        SELECT max(size) AS size FROM audit.checkpoint GROUP BY log_id) AS published),
    (SELECT coalesce(sum(size), 0)::bigint FROM (
        SELECT max(size) AS size FROM audit.tree_head GROUP BY log_id) AS sealed),
    (SELECT count(*) FROM audit.pending)
"""


class NotInTime(RuntimeError):
    """What was waited for did not happen."""


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Look every 10 ms. Raises NotInTime."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise NotInTime(f"{what} for {PATIENCE_SECONDS:g} seconds.")
        time.sleep(0.01)


class Standing(NamedTuple):
    """How many entries are published, sealed and pending, of all logs."""

    published: int
    sealed: int
    pending: int

    @property
    def is_done(self) -> bool:
        """Whether everything that is recorded is published."""
        return self.pending == 0 and self.sealed == self.published


class Server:
    """The embedded PostgreSQL, and what its ledgers hold; `url` is the application's."""

    def __init__(self, data: Path, url: str) -> None:
        self._data, self.url = data, url

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its processes, none of which can say goodbye."""
        postmaster = psutil.Process(self._pid())
        postmaster.suspend()  # so that it starts no more of them
        for process in (postmaster, *postmaster.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: not self.is_running(), "PostgreSQL did not die")

    def start_again(self) -> None:
        """Start it, with recovery."""
        embedded.start_again(self._data)

    def stop(self) -> None:
        """SIGINT: a fast shutdown."""
        os.kill(self._pid(), signal.SIGINT)
        wait_until(lambda: not self.is_running(), "PostgreSQL did not stop")

    def is_running(self) -> bool:
        """Whether its first process is there."""
        return embedded.is_running(self._data)

    def _pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def standing(self) -> Standing:
        """How far its ledgers are."""
        with psycopg.connect(self.url) as connection:
            roles.take_on(connection.cursor(), roles.sequencer_of(connection.info.dbname))
            found = connection.execute(STANDING).fetchone()
        assert found is not None
        return Standing(*found)


class Sequencer:
    """The process that seals, started again whenever it was killed; gone after the block."""

    def __init__(self, state: Path) -> None:
        self._said = state / "sequencer.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it."""
        self._process = sequencing.started(self._said)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        """SIGTERM, and it ends cleanly."""
        self._process.terminate()
        self._process.join(PATIENCE_SECONDS)
        if self._process.exitcode != 0:
            raise RuntimeError(f"The sequencer ended with code {self._process.exitcode}.")

    @property
    def said(self) -> str:
        """All that it said."""
        return self._said.read_text(errors="replace")

    @property
    def complaints(self) -> list[str]:
        """What it said of ledgers that it could not seal or publish."""
        lines = self.said.splitlines()
        complaint = re.compile("can't be sealed|can't be published|is halted")
        return [line for line in lines if complaint.search(line)]


class Killing:
    """The kills, and how long it took until all was well again (in seconds)."""

    def __init__(self, server: Server, sequencer: Sequencer, diary: Diary) -> None:
        self._server, self._sequencer, self._diary = server, sequencer, diary
        self.counts: Counter[str] = Counter()
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.sealed_not_published = 0

    def kill(self, what: str) -> None:
        """Kill it at work, start it again, and wait until entries are published again."""
        time.sleep(random.uniform(0, LONGEST_WORK))
        self.counts[what] += 1
        began = time.monotonic()
        if what == SEQUENCER:
            self._sequencer_dies()
        else:
            self._postgres_dies()
        published = self._server.standing().published
        wait_until(lambda: self._server.standing().published > published, "Nothing was published")
        self.seconds[f"{what}_killed_published_again"].append(time.monotonic() - began)

    def _sequencer_dies(self) -> None:
        self._sequencer.kill()
        standing = self._server.standing()
        self.sealed_not_published += standing.sealed > standing.published
        self._sequencer.start()

    def _postgres_dies(self) -> None:
        self._server.kill()
        began = time.monotonic()  # what was answered before is read by now
        self._server.start_again()
        self.seconds["postgresql_killed_up_again"].append(time.monotonic() - began)
        wait_until(lambda: self._diary.acknowledged_at > began, "Nothing was acknowledged")
        waited = self._diary.acknowledged_at - began
        self.seconds["postgresql_killed_acknowledged_again"].append(waited)
