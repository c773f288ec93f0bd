"""What dies under an installation is started again: with a real PostgreSQL and real processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from countersign import embedded
from countersign.embedded import EmbeddedServerFailed
from countersign.installation import Installation
from countersign.processes import CannotRun
from countersign.serve import interrupt
from countersign.supervision import supervised

SECONDS = 60
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The folder and the address of a server of the test's own."""
    data = tmp_path / "postgres"
    with embedded.server(data) as url:
        yield data, url


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Installation]:
    """An installation whose database is somebody else's."""
    made = Installation(tmp_path, 1, dict(os.environ), None)
    yield made
    made.processes.stop()


@pytest.fixture(autouse=True)
def _sigterm_is_like_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


def _wait(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _pid(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().splitlines()[0])


@pytest.mark.soak
def test_a_killed_postgresql_is_started_again_with_all_that_was_committed(
    postgres: tuple[Path, str], tmp_path: Path, said: list[str]
) -> None:
    data, url = postgres
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    killed, began = _pid(data), time.monotonic()
    with supervised(Installation(tmp_path, 1, {}, data), said.append):
        os.kill(killed, signal.SIGKILL)
        _wait(lambda: said)
        noticed = time.monotonic() - began
        _wait(lambda: len(said) == 2)
    assert noticed < 5
    assert said == [
        f"PostgreSQL died; starting it again (log: {data / 'log'}).",
        "PostgreSQL is up again, with all that was committed.",
    ]
    assert _pid(data) != killed
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.soak
def test_a_postgresql_that_can_not_be_started_again_ends_everything_with_the_reason(
    postgres: tuple[Path, str], tmp_path: Path, said: list[str]
) -> None:
    data, _ = postgres
    installation = Installation(tmp_path, 1, {}, data)
    ended = pytest.raises(EmbeddedServerFailed, match=r"could not start[^$]*pg_control")
    with ended, supervised(installation, said.append):
        (data / "global").rename(data / "elsewhere")
        os.kill(_pid(data), signal.SIGKILL)
        time.sleep(SECONDS)
    (data / "elsewhere").rename(data / "global")


def test_a_process_that_dies_is_started_again_and_what_it_had_started_is_ended(
    alone: Installation, said: list[str]
) -> None:
    program = (
        "import subprocess as s; print(s.Popen(['sleep', '60']).pid, flush=True); s.time.sleep(60)"
    )
    pid = alone.processes.start("worker", [sys.executable, "-c", program])
    _wait(lambda: alone.processes.last_lines("worker"))
    left = psutil.Process(int(alone.processes.last_lines("worker")))
    with supervised(alone, said.append):
        os.kill(pid, signal.SIGKILL)
        _wait(lambda: said)
    log = alone.processes.log_of("worker")
    assert said == [f"The worker ended with code -9; it is started again (log: {log})."]
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
    assert alone.processes.ended() == {}


@pytest.mark.soak
def test_a_process_that_somebody_kills_through_us_is_theirs_to_start_again(
    alone: Installation, said: list[str]
) -> None:
    alone.processes.start("worker", SLEEP)
    with supervised(alone, said.append):
        alone.processes.kill("worker")
        time.sleep(1.2)
        alone.processes.start_again("worker")
        time.sleep(0.6)
    assert said == []


def test_a_process_that_can_not_be_started_again_ends_everything(
    alone: Installation, tmp_path: Path, said: list[str]
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    pid = alone.processes.start("worker", [str(program)])
    program.unlink()
    ended = pytest.raises(CannotRun, match="can't be started again")
    with ended, supervised(alone, said.append):
        os.kill(pid, signal.SIGKILL)
        time.sleep(SECONDS)


def test_ctrl_c_ends_the_watching(alone: Installation, said: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt), supervised(alone, said.append):
        signal.raise_signal(signal.SIGINT)
