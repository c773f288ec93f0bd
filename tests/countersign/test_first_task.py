"""A worker's first task, with real worker processes on the tests' database."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from kombu import Connection

from countersign import queueing
from countersign.processes import Processes
from runtime import tasks
from tests.environment import ROOT

SWEEP = "runtime.sweep"
SECONDS = 60


@pytest.fixture
def started(tmp_path: Path, db: None) -> Iterator[Processes]:
    """Processes on the tests' database, with a queue of their own and kept connections."""
    where = connection.settings_dict
    path = f"{ROOT}{os.pathsep}{ROOT / 'platform'}"
    made = Processes(
        tmp_path,
        {
            **os.environ,
            "PYTHONPATH": path,
            "DATABASE_URL": f"postgresql://{where['USER']}@/{where['NAME']}?host={where['HOST']}",
            "DATABASE_POOL_SIZE": "8",
            "COUNTERSIGN_STATE_DIRECTORY": str(tmp_path),
        },
    )
    yield made
    made.stop()


def _send(state: Path) -> None:
    """Ask for a sweep, which reads the tenants: a message as Celery's protocol 2 writes it."""
    folder = str(state / "queue" / "messages")
    options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": str(state)}
    Path(folder).mkdir(parents=True, exist_ok=True)
    queueing.register()
    body = ([], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    with Connection("embedded://localhost", transport_options=options) as broker:
        broker.Producer(serializer="json").publish(
            body, routing_key="celery", headers={"id": SWEEP, "task": SWEEP, "lang": "py"}
        )


@pytest.mark.soak
@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_the_first_task_after_a_start_finds_a_connection_that_works(
    started: Processes, tmp_path: Path, pool: str
) -> None:
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
    celery = [sys.executable, "-m", "celery", "-A", "countersign.celery", "worker", *alone]
    started.start("worker", [*celery, "--pool", pool, "--concurrency", "1"])
    deadline = time.monotonic() + SECONDS
    while "ready." not in started.last_lines("worker"):
        assert time.monotonic() < deadline, started.last_lines("worker")
        time.sleep(0.1)
    _send(tmp_path)
    while f"Task {SWEEP}[{SWEEP}]" not in (said := started.last_lines("worker", 100)).replace(
        f"Task {SWEEP}[{SWEEP}] received", ""
    ):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    assert f"Task {SWEEP}[{SWEEP}] succeeded" in said
    assert "Error" not in said
    assert "discarding" not in said  # no connection was broken on the way


@pytest.mark.parametrize("task", [tasks.carry_on, tasks.ingest])
def test_a_task_that_meets_a_lost_connection_is_begun_again_a_few_times(
    monkeypatch: pytest.MonkeyPatch, task: Any
) -> None:
    begun: list[str] = []

    def lost(slug: str) -> None:
        begun.append(slug)
        raise OperationalError("connection socket closed")

    monkeypatch.setattr(tasks.directory, "of_slug", lost)
    assert task.apply(args=("acme", "0")).failed()
    assert begun == ["acme"] * 5
