"""Watchers over a real ASGI server: they cost no thread and no database connection each."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from builders import Desk
from callers import Caller, service_key
from django.core.asgi import get_asgi_application
from django.db import connection

from api import streaming
from runtime.models import Run
from tenants import isolation

WATCHERS = 20


@pytest.fixture
def port() -> Iterator[int]:
    """Where Django is served by uvicorn."""
    config = uvicorn.Config(
        get_asgi_application(), port=0, lifespan="off", log_config=None, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def _watch(port: int, app: Caller, run: Run) -> http.client.HTTPConnection:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", f"/api/v1/runs/{run.pk}/events", headers=app.headers({}))
    answer = client.getresponse()
    assert answer.status == 200
    assert answer.readline().startswith(b"id: ")
    return client


def _connections() -> int:
    with isolation.outside_tenants(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.soak
def test_watchers_hold_no_connection_and_end_with_their_clients(
    committed_desk: Desk, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    look = streaming.changes

    def counted(*arguments: Any) -> streaming.Look:
        looks.append(time.monotonic())
        return look(*arguments)

    monkeypatch.setattr(streaming, "changes", counted)
    monkeypatch.setattr(streaming, "LONGEST_PAUSE", 0.3)
    monkeypatch.setattr("runtime.nudges.after_commit", lambda run: None)
    app = service_key("acme", "4" * 16, committed_desk.cast.alice.id)
    started = app.post("agents/refund-desk/runs", {"task": "?"}).json()
    run = Run.objects.get(pk=started["id"])
    watchers = [_watch(port, app, run) for _ in range(WATCHERS)]
    held = sorted(_connections() for _ in range(9))
    assert held[4] < WATCHERS / 2, f"{held} connections for {WATCHERS} watchers"
    for watcher in watchers:
        watcher.close()
    left = time.monotonic()
    time.sleep(1)
    assert not [at for at in looks if at > left + 0.7]
