"""The only place that fills one disk after the other while writers write, and looks around."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from crashing.installing import Installed
from crashing.killing import Sequencer, Server, wait_until
from crashing.small_disks import SmallDisk
from crashing.writing import Diary, Writers

from audit.selections import EVERYTHING
from countersign.embedded import EmbeddedServerFailed
from runtime import exports, onboarding
from runtime.models import ExportState, LedgerExport
from runtime.queries import principal_named
from tenants import isolation

FULL_SECONDS = 4.0
NO_SPACE = "No space left on device"


class NotAsPromised(RuntimeError):
    """What was seen while a disk was full is not what was promised."""


class Filling:
    """One installation, each of whose disks is filled once. `run` says what was seen."""

    def __init__(
        self, state: Path, installation: Installed, disks: Mapping[str, SmallDisk]
    ) -> None:
        self._state, self._installation, self._disks = state, installation, disks
        self._server = Server(state / "data" / "pg", installation.url)
        self.diary = Diary()

    def run(self) -> Iterator[str]:
        """Fill them all; a sentence for each thing seen. Raises NotAsPromised, NotInTime."""
        stop = threading.Event()
        self._move_the_write_ahead_log()
        with Sequencer(self._state) as self._sequencer:
            tenants = self._installation.tenants
            writers = [Writers(each, self._installation.url, self.diary, stop) for each in tenants]
            try:
                self._wait_until_all_is_well()
                for fill in (self._data, self._wal, self._guard, self._sink, self._exports):
                    yield from fill()
                    self._wait_until_all_is_well()
            finally:
                stop.set()
                for each in writers:
                    each.join()
            wait_until(lambda: self._server.standing().is_done, "Not everything was published")
            self._sequencer.stop()

    def _data(self) -> Iterator[str]:
        yield from self._refused("data")

    def _wal(self) -> Iterator[str]:
        with psycopg.connect(self._superuser(), autocommit=True) as connection:
            self._disks["wal"].fill()
            try:
                for _ in range(20):
                    connection.execute("SELECT pg_switch_wal()")
                    time.sleep(0.2)
            except psycopg.Error as problem:
                yield f"wal: PostgreSQL says to its administrator: {_line(problem)}"
        yield from self._refused("wal")

    def _refused(self, name: str) -> Iterator[str]:
        """Writers are refused, in so many words; whatever is acknowledged is judged in the end."""
        self.diary.refusals.clear()
        self._disks[name].fill()
        wait_until(lambda: bool(self.diary.refusals), "Nobody was refused")
        time.sleep(FULL_SECONDS)
        is_up = self._server.is_running()
        yield f"{name}: PostgreSQL {'is up' if is_up else 'is down'} while it is full"
        for kind, said in sorted(self.diary.refusals.items()):
            yield f"{name}: a writer is told {kind}: {said}"
        self._disks[name].make_room()

    def _guard(self) -> Iterator[str]:
        self._disks["ledger-guard"].fill()
        self._wait_for_complaints("can't be published")
        before, said = self._server.standing(), len(self._sequencer.complaints)
        time.sleep(FULL_SECONDS)
        after, said = self._server.standing(), len(self._sequencer.complaints) - said
        if after.published != before.published or after.sealed == before.sealed:
            raise NotAsPromised(f"With the guard's disk full: {before}, then {after}.")
        sealed = after.sealed - before.sealed
        yield f"guard: {sealed} entries sealed, none published; the sequencer said so {said} times"
        self._disks["ledger-guard"].make_room()

    def _sink(self) -> Iterator[str]:
        self._disks["outside"].fill()
        self._wait_for_complaints("did not take the checkpoint")
        held, before = self._notes(), self._server.standing().published
        time.sleep(FULL_SECONDS)
        published = self._server.standing().published - before
        if self._notes() != held or not published:
            raise NotAsPromised(f"With the sink's disk full {published} entries were published.")
        yield f"sink: {published} entries published, no checkpoint taken, nothing half written"
        self._disks["outside"].make_room()
        wait_until(lambda: self._notes() > held, "The sink took no checkpoint")

    def _exports(self) -> Iterator[str]:
        tenant, now = self._installation.tenants[0], datetime.now(UTC)
        named = {"name": "Alice", "password": "correct horse battery staple 7"}
        admin = onboarding.add_first_admin(tenant, "alice@acme.example", **named, now=now)
        with isolation.acting_for(tenant):
            by = principal_named("member", str(admin.user_id))
            row = exports.ask(EVERYTHING, with_bodies=True, by=by, now=now)
            self._disks["exports"].fill()
            try:
                exports.make(row.pk, clock=lambda: now)
            except OSError as problem:
                yield f"exports: the worker meets {problem.strerror}"
            else:
                raise NotAsPromised("An export was made on a full disk.")
            if self._bundles():
                raise NotAsPromised("There is a bundle that was made on a full disk.")
            self._disks["exports"].make_room()
            exports.make(row.pk, clock=lambda: now + timedelta(hours=1))
            made = LedgerExport.objects.get(pk=row.pk)
            if made.state != ExportState.READY:
                raise NotAsPromised(f"The export is {made.state} ({made.failure}).")
        if [path.stat().st_size for path in self._files("exports")] != [made.bytes]:
            raise NotAsPromised("More is left of the export than its file.")
        yield f"exports: no bundle was there; with room again it holds {made.size} entries"

    def _wait_until_all_is_well(self) -> None:
        """Entries are acknowledged, and published; PostgreSQL is started where it has ended."""
        began = time.monotonic()

        def acknowledged() -> bool:
            if not self._server.is_running():
                self._start_again()
            return self.diary.acknowledged_at > began

        wait_until(acknowledged, "Nothing was acknowledged")
        before = self._server.standing().published
        wait_until(lambda: self._server.standing().published > before, "Nothing was published")

    def _start_again(self) -> None:
        try:
            self._server.start_again()
        except EmbeddedServerFailed:
            time.sleep(1)

    def _wait_for_complaints(self, words: str) -> None:
        def complained() -> bool:
            said = self._sequencer.said[before:]
            return words in said and NO_SPACE in said

        before = len(self._sequencer.said)
        wait_until(complained, "The sequencer did not complain")

    def _notes(self) -> set[str]:
        return {path.name for path in self._files("outside") if path.name != "ballast"}

    def _files(self, name: str) -> list[Path]:
        return [path for path in (self._state / name).rglob("*") if path.is_file()]

    def _bundles(self) -> list[Path]:
        return [path for path in self._files("exports") if path.suffix == ".zst"]

    def _superuser(self) -> str:
        return self._installation.url.replace("countersign@/countersign", "postgres@/postgres")

    def _move_the_write_ahead_log(self) -> None:
        """To a disk of its own, as administrators do."""
        self._server.stop()
        here, there = self._state / "data" / "pg" / "pg_wal", self._state / "wal" / "pg_wal"
        subprocess.run(["cp", "-a", str(here), str(there)], check=True)
        subprocess.run(["rm", "-r", str(here)], check=True)
        here.symlink_to(there)
        self._server.start_again()


def _line(problem: Exception) -> str:
    return str(problem).strip().partition("\n")[0]
