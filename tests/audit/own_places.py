"""The only place for the places outside of one test, each for that test's own log alone."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import own_witness
import psycopg
from own_logs import KEY, OwnLog, act_as, ask, record_committed
from own_losses import approve, forgotten, sequence

from audit.anchoring import Anchoring
from audit.buckets import Send
from audit.checkpoints import SigningKey, VerifierKey
from audit.events import Actor
from audit.guard import Guard
from audit.places import Begin, Due, Place, Witness
from audit.roles import Cursor
from audit.witness import keys
from countersign.sending import send

COSIGNED = "SELECT size, verifier_key, line FROM audit.cosignature ORDER BY size, verifier_key"
ANCHORED = "SELECT size, place, evidence FROM audit.anchor ORDER BY size, place"
REASONS = "SELECT signed_size, size, reason FROM audit.halt ORDER BY created_at"


class Only:
    """A place that wants nothing of other logs: those of other tests are in the same database."""

    def __init__(self, place: Place, log: OwnLog) -> None:
        self.name, self._place, self._log = place.name, place, log

    def wants(self, cursor: Cursor, log, origin: str, size: int) -> bool:
        return log == self._log.id and self._place.wants(cursor, log, origin, size)

    def take(self, begin: Begin, due: Due, now: datetime) -> None:
        self._place.take(begin, due, now)


class Rounds:
    """One place of one log, asked whenever a test says so."""

    def __init__(self, raw: psycopg.Connection, place: Place, log: OwnLog) -> None:
        self._raw, self._anchoring = raw, Anchoring(Only(place, log))

    def go(self, *, after: timedelta = timedelta(0)) -> None:
        self._anchoring.round(self._raw, datetime.now(UTC) + after, threading.Event())


class WitnessProcess:
    """`python -m audit.witness`, which a test may kill and start again at the same address."""

    def __init__(self, folder: Path, *logs: VerifierKey) -> None:
        self._files = (folder / "witness.key", folder / "witness")
        self._logs = logs
        self.own: Sequence[SigningKey] = keys.make("witness.test/carol", self._files[0])
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> list[VerifierKey]:
        return [key.verifier for key in self.own]

    def start(self) -> None:
        self._process, client = own_witness.start(*self._files, *self._logs, port=self.port)
        self.port = client.port

    def kill(self) -> None:
        if self._process is not None:
            own_witness.end(self._process)
            self._process = None

    def place(self, log: OwnLog, *, send: Send = send) -> Witness:
        return Witness(self.url, self.keys, send=send, origin=log.origin)


def key_of(log: OwnLog) -> VerifierKey:
    return VerifierKey(log.origin, KEY.public_key())


class Ground:
    """A log that other connections see, its sequencer, and what became of it."""

    def __init__(self, raw: psycopg.Connection, log: OwnLog, folder: Path) -> None:
        self.raw, self.log, self.folder = raw, log, folder
        self._guard = Guard(folder / "guard")

    def record(self, count: int) -> None:
        record_committed(self.raw, self.log, count)

    def sequence(self) -> None:
        sequence(self.raw, self._guard)

    def grow(self, count: int) -> None:
        self.record(count)
        self.sequence()

    def lose(self, count: int, rounds: Rounds) -> None:
        """Entries are sealed, signed and seen outside; then database and folder are rolled back."""
        with forgotten(self.raw):
            self.grow(count)
            rounds.go()
        self._guard = Guard(self.folder / "another-guard")

    def rounds(self, place: Place) -> Rounds:
        return Rounds(self.raw, place, self.log)

    def ask(self, query: str) -> list[Any]:
        return ask(self.raw, self.log, query)

    def cosigned(self) -> list[int]:
        """The sizes that were cosigned, each once."""
        return sorted({size for size, _, _ in self.ask(COSIGNED)})

    def approve(self, *actors: Actor) -> None:
        for actor in actors:
            approve(self.raw, self.log, actor)

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Django's connection reads as the log's role."""
        act_as(self.log.role)
        try:
            yield
        finally:
            act_as("none")
