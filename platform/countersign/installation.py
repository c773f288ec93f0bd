"""The only place that brings a whole installation up on one machine, and down again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from countersign import embedded
from countersign.configuration import ROOT, generated_secret
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


class Installation:
    """A running Countersign: its address, and processes web, worker, beat and sequencer."""

    def __init__(self, state: Path, port: int, environment: dict[str, str]) -> None:
        self.state = state
        self.port = port
        self.environment = environment
        self.processes = Processes(state, environment)

    @property
    def address(self) -> str:
        """The base domain's address; a tenant's is `http://<slug>.localhost:<port>`."""
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it printed. Raises CannotRun."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
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
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def keep_running(self, say: Say) -> NoReturn:
        """Watch the processes until interrupted; one that ends is started again."""
        while True:
            for name, code in self.processes.ended().items():
                say(
                    f"The {name} ended with code {code}; starting it again"
                    f" (log: {self.processes.log_of(name)})."
                )
                self.processes.start_again(name)
            time.sleep(1)


@contextlib.contextmanager
def running(state: Path, *, port: int, say: Say) -> Iterator[Installation]:
    """Bring everything up: database, migrations, static files, processes; and down at the end.

    With DATABASE_URL set nothing embedded starts. Raises CannotRun, EmbeddedServerFailed.
    """
    with contextlib.ExitStack() as stopping, contextlib.ExitStack() as stack:
        try:
            yield _brought_up(stack, state, port, say)
        finally:
            stopping.enter_context(uninterrupted())


def _brought_up(stack: contextlib.ExitStack, state: Path, port: int, say: Say) -> Installation:
    stack.enter_context(Lock(state))
    check_disk(state)
    _end_left_over(state, say)  # which may hold the port, too
    environment = {
        **os.environ,
        "DATABASE_POOL_SIZE": os.environ.get("DATABASE_POOL_SIZE", "8"),
    }
    environment["COUNTERSIGN_STATE_DIRECTORY"] = str(state)
    if not environment.get("DATABASE_URL"):
        say("Starting PostgreSQL.")
        environment["DATABASE_URL"] = stack.enter_context(embedded.server(state / "postgres"))
        environment.setdefault("SECRET_KEY", generated_secret(state / "secret_key"))
    chosen = free_port(port)
    if chosen != port:
        say(f"Port {port} is busy: using {chosen}.")
    environment["PORT"] = str(chosen)
    installation = Installation(state, chosen, environment)
    stack.callback(installation.processes.stop)
    say("Migrating the database.")
    installation.manage("prepare")
    say("Starting sequencer, worker, beat and web server.")
    installation.start_all()
    return installation


def _end_left_over(state: Path, say: Say) -> None:
    left = Processes(state, {}).end_left_over()
    if embedded.end_left_over(state / "postgres"):
        left.append("PostgreSQL")
    if left:
        say(f"An earlier run was killed. What it left behind is ended: {', '.join(left)}.")
