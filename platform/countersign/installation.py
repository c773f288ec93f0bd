"""The only place that brings a whole installation up on one machine, and down again."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from countersign import embedded
from countersign.configuration import ROOT, Configuration
from countersign.processes import (
    CannotRun,
    Lock,
    Processes,
    check_disk,
    free_port,
    uninterrupted,
)

READY_SECONDS = 60
# This machine is never asked through a proxy that the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
Say = Callable[[str], None]


def nothing(_: Installation) -> None:
    """What is done before the processes start, where nobody needs anything."""


class Installation:
    """A running Countersign: its address, and processes web, worker, documents, streams,
    beat, sequencer.

    `postgres` is the embedded server's folder; None where the database is somebody else's.
    """

    def __init__(
        self, state: Path, port: int, environment: dict[str, str], postgres: Path | None
    ) -> None:
        self.state = state
        self.port = port
        self.environment = environment
        self.postgres = postgres
        self.processes = Processes(state, environment)

    @property
    def address(self) -> str:
        """The base domain's address; a tenant's is `http://<slug>.localhost:<port>`."""
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str, told: str = "") -> str:
        """Run a management command, which reads `told`; what it printed. Raises CannotRun."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=told,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CannotRun(f"manage.py {arguments[0]} failed:\n{done.stderr.strip()[-2000:]}")
        return done.stdout

    def start_all(self) -> None:
        """Start every process and wait until the web server answers. Raises CannotRun."""
        python, celery = (
            sys.executable,
            [sys.executable, "-m", "celery", "-A", "countersign.celery"],
        )
        start = self.processes.start
        start("sequencer", [python, "manage.py", "run_sequencer"])
        alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        worker = [*celery, "worker", *alone, "--loglevel", "INFO"]
        start("worker", [*worker, "--hostname", "runs@%h", "--concurrency", "4"])
        documents = ["--hostname", "documents@%h", "--queues", "documents", "--pool", "solo"]
        start("documents", [*worker, *documents])
        streams = ["--hostname", "streams@%h", "--queues", "streams", "--pool", "threads"]
        # It looks every two seconds, and would say so each time.
        start("streams", [*worker, *streams, "--concurrency", "8", "--loglevel", "WARNING"])
        beat = [
            "beat",
            "--loglevel",
            "WARNING",
            "--schedule",
            str(self.state / "beat-schedule"),
            "--pidfile=",
        ]
        start("beat", [*celery, *beat])
        uvicorn = [python, "-m", "uvicorn", "countersign.asgi:application", "--host", "127.0.0.1"]
        tuned = [
            "--port",
            str(self.port),
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            "--no-access-log",
        ]
        start("web", [*uvicorn, *tuned, "--timeout-graceful-shutdown", "3"])
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._answers():
                return
            ended = self.processes.ended()
            if ended:
                name, code = next(iter(ended.items()))
                last = self.processes.last_lines(name)
                raise CannotRun(f"The {name} ended with code {code} while starting:\n{last}")
            time.sleep(0.1)
        raise CannotRun(
            f"The web server did not answer in {READY_SECONDS} seconds:"
            f" see {self.processes.log_of('web')}"
        )

    def _answers(self) -> bool:
        try:
            with OPENER.open(f"{self.address}/health", timeout=2):
                return True
        except (OSError, http.client.HTTPException):
            # On a port that the system gives to clients too, one may have met itself (RFC 9293,
            # 3.5: simultaneous open), and reads its own request.
            return False


@contextlib.contextmanager
def running(
    wanted: Configuration, *, say: Say, first: Callable[[Installation], None] = nothing
) -> Iterator[Installation]:
    """Bring everything up: database, migrations, static files, processes; and down at the end.

    With DATABASE_URL set nothing embedded starts. `first` starts what the work that was left needs,
    before a worker takes it up. Raises CannotRun, EmbeddedServerFailed.
    """
    with contextlib.ExitStack() as stopping, contextlib.ExitStack() as stack:
        try:
            installation = _prepared(stack, wanted, say)
            first(installation)
            say("Starting sequencer, worker, beat and web server.")
            installation.start_all()
            yield installation
        finally:
            stopping.enter_context(uninterrupted())


def _prepared(stack: contextlib.ExitStack, wanted: Configuration, say: Say) -> Installation:
    state, port = wanted.COUNTERSIGN_STATE_DIRECTORY, wanted.PORT
    stack.enter_context(Lock(state))
    check_disk(state)
    _end_left_over(state, say)  # which may hold the port, too
    environment = {"DATABASE_POOL_SIZE": "8", **os.environ}
    environment["COUNTERSIGN_STATE_DIRECTORY"] = str(state)
    postgres = None if wanted.DATABASE_URL else state / "postgres"
    if postgres:
        say("Starting PostgreSQL.")
        environment["DATABASE_URL"] = stack.enter_context(embedded.server(postgres))
        environment["SECRET_KEY"] = wanted.secret_key()
    chosen = free_port(port)
    if chosen != port:
        say(f"Port {port} is busy: using {chosen}.")
    environment["PORT"] = str(chosen)
    installation = Installation(state, chosen, environment, postgres)
    stack.callback(installation.processes.stop)
    say("Migrating the database.")
    installation.manage("prepare")
    return installation


def _end_left_over(state: Path, say: Say) -> None:
    left = Processes(state, {}).end_left_over()
    if embedded.end_left_over(state / "postgres"):
        left.append("PostgreSQL")
    if left:
        say(f"An earlier run was killed. What it left behind is ended: {', '.join(left)}.")
