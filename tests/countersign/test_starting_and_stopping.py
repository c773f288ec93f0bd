"""`make serve` as a person uses it and as machines break it: with real processes, on a port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from countersign.processes import free_port
from tests.environment import ROOT

SECONDS = 60


class Run:
    """One `python -m countersign.serve`, leader of a process group as in a terminal."""

    def __init__(self, state: Path, port: int) -> None:
        self._said = state.parent / f"said-{time.monotonic_ns()}"
        kept = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "SECRET_KEY"}}
        with self._said.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "countersign.serve"],
                cwd=ROOT,
                env={
                    **kept,
                    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
                    "COUNTERSIGN_STATE_DIRECTORY": str(state),
                    "PORT": str(port),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_until_it_says(self, words: str) -> None:
        deadline = time.monotonic() + SECONDS
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def ends(self) -> int:
        return self.process.wait(SECONDS)


def _left(state: Path) -> list[str]:
    """The command lines of processes that name the state directory, or work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(state) in word for word in words):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _health(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        return answer.status


@pytest.fixture
def port() -> int:
    """A port that is free, and the next one too; none that the system gives to clients."""
    number = free_port(10_000 + os.getpid() % 20_000)
    while free_port(number + 1) != number + 1:
        number = free_port(number + 2)
    return number


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory; who still works in it when a test failed is ended."""
    folder = tmp_path / "state"
    yield folder
    for process in psutil.process_iter():
        try:
            if process.environ().get("COUNTERSIGN_STATE_DIRECTORY") == str(folder):
                process.kill()
            elif process.cwd() == str(folder / "postgres"):
                process.terminate()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


@pytest.mark.soak
def test_an_installation_survives_its_days(state: Path, port: int) -> None:
    _is_interrupted_in_the_middle_of_its_start(state, port)
    second = _gives_way_to_a_busy_port(state, port)
    _refuses_a_second_start(state, port, second)
    _starts_again_what_dies(second, state, port + 1)
    second.process.kill()
    second.ends()
    assert _health(port + 1) == 200  # what it left behind still serves
    third = _ends_what_a_killed_run_left(state, port + 1)
    _is_interrupted_twice(third, state)


def _is_interrupted_in_the_middle_of_its_start(state: Path, port: int) -> None:
    """Ctrl-C in a terminal reaches the whole foreground group. A background job of a shell's
    script begins with SIGINT ignored, and is interrupted all the same.
    """
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = Run(state, port)
    finally:
        signal.signal(signal.SIGINT, ignored)
    run.wait_until_it_says("Migrating the database.")
    os.killpg(run.process.pid, signal.SIGINT)
    _is_gone(run, state)


def _gives_way_to_a_busy_port(state: Path, port: int) -> Run:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", port))
        busy.listen()
        run = Run(state, port)
        run.wait_until_it_says("Countersign is ready")
    assert f"Port {port} is busy: using {port + 1}." in run.said
    assert "An earlier run was killed" not in run.said
    assert _health(port + 1) == 200
    return run


def _refuses_a_second_start(state: Path, port: int, running: Run) -> None:
    other = Run(state, port)
    assert other.ends() == 1
    assert other.said.strip() == (
        f"Countersign already runs on {state} (process {running.process.pid}). Stop it first,"
        " or set COUNTERSIGN_STATE_DIRECTORY to another folder."
    )
    assert _health(port + 1) == 200


def _starts_again_what_dies(run: Run, state: Path, port: int) -> None:
    """kill -9 of the database, and then of every process that works on it."""
    os.kill(int((state / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    run.wait_until_it_says("PostgreSQL is up again")
    _serves(port)
    names = {file.stem: int(file.read_text().split()[0]) for file in state.glob("run/*.pid")}
    assert names.keys() == {"beat", "documents", "sequencer", "streams", "web", "worker"}
    for name, pid in names.items():
        os.kill(pid, signal.SIGKILL)
        run.wait_until_it_says(f"The {name} ended with code -9; it is started again")
    _serves(port)


def _serves(port: int) -> None:
    """The web server answers, and its database does, before long."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if _health(port) == 200:
                return
        time.sleep(0.1)
    raise AssertionError("it does not serve again")


def _ends_what_a_killed_run_left(state: Path, port: int) -> Run:
    run = Run(state, port)
    run.wait_until_it_says("Starting sequencer, worker")
    said, _, ended = run.said.splitlines()[0].partition(": ")
    assert said == "An earlier run was killed. What it left behind is ended"
    assert {"beat", "sequencer", "web", "worker", "PostgreSQL"} <= set(ended[:-1].split(", "))
    assert "is busy" not in run.said
    return run


def _is_interrupted_twice(run: Run, state: Path) -> None:
    """Ctrl-C to the one process, and again by somebody who can't wait."""
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    run.process.send_signal(signal.SIGINT)
    _is_gone(run, state)


def _is_gone(run: Run, state: Path) -> None:
    assert run.ends() == 0
    assert run.said.splitlines()[-1] == "Stopped."
    assert _left(state) == []
    assert list(state.glob("run/*")) == []
