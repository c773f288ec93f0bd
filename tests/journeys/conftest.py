"""The only place that starts real processes for tests: worker, beat, sequencer and web server."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from cast import Cast
from countersign.processes import Processes, free_port
from django.db import connection
from psycopg.conninfo import make_conninfo

from tests.environment import STATE


class Stack(msgspec.Struct):
    """Countersign's processes on the tests' database."""

    processes: Processes
    port: int

    @property
    def address(self) -> str:
        """acme's host."""
        return f"http://acme.localhost:{self.port}"

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 30) -> None:
        """Look again and again; fail with the ends of the logs."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [self.processes.last_lines(name) for name in ("worker", "web", "sequencer")]
                raise AssertionError("it did not happen\n" + "\n---\n".join(logs))
            time.sleep(0.05)


def _environment(port: int) -> dict[str, str]:
    settings = connection.settings_dict
    url = make_conninfo(
        f"postgresql://{settings['USER']}@/{settings['NAME']}",
        host=settings["HOST"],
        port=settings["PORT"] or None,
    )
    parts = dict(piece.split("=", 1) for piece in url.split())
    database_url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES": "true",
        "COUNTERSIGN_SWEEP_SECONDS": "1",
        "COUNTERSIGN_LEASE_SECONDS": "2",
        "PORT": str(port),
    }


@pytest.fixture(scope="session")
def stack(casts: dict[str, Cast]) -> Iterator[Stack]:
    """Real processes on the committed tenants and the tests' own queue, once a session."""
    port = free_port(18_000)
    processes = Processes(STATE, _environment(port))
    celery = [sys.executable, "-m", "celery", "-A", "countersign.celery"]
    try:
        processes.start("sequencer", [sys.executable, "manage.py", "run_sequencer"])
        processes.start("worker", [*celery, "worker", "--concurrency", "2", "--loglevel", "INFO"])
        processes.start("beat", [*celery, "beat", "--schedule", str(STATE / "beat"), "--pidfile="])
        yield Stack(processes, port)
    finally:
        processes.stop()
