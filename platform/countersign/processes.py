"""The only place that starts, watches, kills and stops an installation's processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Self

import psutil

ROOT = Path(__file__).resolve().parents[2]
LEAST_FREE_BYTES = 300 * 2**20
PORTS_TO_TRY = 50
STOP_SECONDS = 10
# A process's time of birth is reckoned from the time of boot, which moves when a clock is set.
CLOCK_SECONDS = 5
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAST_PORT = 65_535


class CannotRun(RuntimeError):
    """Something on this machine is in the way; the message says what, and what to do."""


class Lock:
    """One installation a state directory. The kernel lets go of it when its process dies."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            file = (self._state / "lock").open("a+b", buffering=0)
        except OSError as problem:
            raise CannotRun(f"Countersign can't use the folder {self._state}: {problem}.") from None
        with contextlib.ExitStack() as closing:
            closing.callback(file.close)
            self._take(file)
            closing.pop_all()
        self._file = file
        return self

    def _take(self, file: BinaryIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().decode() or "unknown"
            raise CannotRun(
                f"Countersign already runs on {self._state} (process {pid}). Stop it first, or set"
                " COUNTERSIGN_STATE_DIRECTORY to another folder."
            ) from None
        try:
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        except OSError as problem:
            raise CannotRun(f"Countersign can't write to {self._state}: {problem}.") from None

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def check_disk(state: Path) -> None:
    """Raise CannotRun where there is too little room to start."""
    free = psutil.disk_usage(str(state)).free
    if free < LEAST_FREE_BYTES:
        raise CannotRun(
            f"The disk under {state} has {free // 2**20} MB free; Countersign needs at least"
            f" {LEAST_FREE_BYTES // 2**20} MB. Make room and start again."
        )


def free_port(wanted: int, *, other_than: int = 0) -> int:
    """`wanted`, or the next port on this machine that nobody listens on. Raises CannotRun.

    `other_than` is promised to somebody who does not listen yet.
    """
    last = min(wanted + PORTS_TO_TRY - 1, LAST_PORT)
    for port in range(wanted, last + 1):
        if port == other_than:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CannotRun(f"No free port between {wanted} and {last}. Set PORT to another one.")


class Processes:
    """The children of this process, each in a session of its own, each with a log file.

    Ctrl-C therefore reaches this process alone, which stops them in the reverse order. Threads may
    share it. A child gets `environment` as it is when the child starts.
    """

    def __init__(self, state: Path, environment: Mapping[str, str]) -> None:
        self._state = state
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, Sequence[str]] = {}
        self._log_began: dict[str, int] = {}
        self._turn = threading.RLock()

    def log_of(self, name: str) -> Path:
        """Where the output of a child goes."""
        return self._state / "log" / f"{name}.log"

    def start(self, name: str, command: Sequence[str]) -> int:
        """Start a child and return its process id. Ctrl-C waits until it is known."""
        with held_back(), self._turn:
            return self._start(name, command)

    def _start(self, name: str, command: Sequence[str]) -> int:
        log = self.log_of(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab", opener=_for_us_alone) as output:
            # In bytes: what stands before it is of an earlier installation.
            self._log_began.setdefault(name, output.tell())
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[name], self._commands[name] = child, command
        self._pid_file(name).write_text(f"{child.pid} {psutil.Process(child.pid).create_time()}")
        return child.pid

    def start_again(self, name: str) -> int:
        """Start a child that ended with the same command."""
        return self.start(name, self._commands[name])

    def kill(self, name: str) -> None:
        """SIGKILL a child and all that it started."""
        with self._turn:
            child = self._running.pop(name)
            _kill_group(child.pid)
            child.wait()
            self._pid_file(name).unlink(missing_ok=True)

    def ended(self) -> dict[str, int]:
        """The children that ended by themselves, with their exit codes; they are forgotten."""
        with self._turn:
            gone = [name for name, child in self._running.items() if _has_ended(child)]
            return {name: self._bury(name) for name in gone}

    def _bury(self, name: str) -> int:
        """Forget a child that ended; what it started goes too. Returns its exit code."""
        child = self._running.pop(name)
        _kill_group(child.pid)
        return child.wait()

    def revive(self) -> dict[str, int]:
        """Start again the children that ended by themselves; their names and exit codes."""
        with self._turn:
            gone = self.ended()
            for name in gone:
                self.start_again(name)
            return gone

    def last_lines(self, name: str, count: int = 15) -> str:
        """The end of a child's log, as far as this installation wrote it."""
        if name not in self._log_began:
            return ""
        with self.log_of(name).open("rb") as log:
            log.seek(self._log_began[name])
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-count:])

    def stop(self) -> None:
        """Ask all children to end, the last one first; who has not after 10 seconds is killed."""
        for child in reversed(list(self._running.values())):
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for name in reversed(list(self._running)):
            child = self._running.pop(name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0, deadline - time.monotonic()))
            _kill_group(child.pid)
            child.wait()
            self._pid_file(name).unlink(missing_ok=True)

    def end_left_over(self) -> list[str]:
        """End every process that a killed run left behind, and return their names."""
        files = sorted((self._state / "run").glob("*.pid"))
        return [file.stem for file in files if self._end_left_over(file.stem)]

    def _pid_file(self, name: str) -> Path:
        folder = self._state / "run"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.pid"

    def _end_left_over(self, name: str) -> bool:
        """End the process that a killed run left; a pid that means another process is ignored."""
        file = self._pid_file(name)
        pid, _, created = file.read_text().partition(" ") if file.exists() else ("", "", "")
        file.unlink(missing_ok=True)
        try:
            is_left = abs(psutil.Process(int(pid)).create_time() - float(created)) < CLOCK_SECONDS
        except (psutil.NoSuchProcess, ValueError):
            return False
        if is_left:
            _kill_group(int(pid))
        return bool(is_left)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Finish the block although somebody presses Ctrl-C again."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C take effect at the end of the block: in between, a child could be lost.

    It interrupts the main thread alone: in another one there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in INTERRUPTIONS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    # Until it is waited for, its id is nobody else's.
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, child.pid, how) is not None


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.02)
