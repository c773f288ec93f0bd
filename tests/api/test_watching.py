"""Waiting for a run and watching its steps, over ASGI, with a worker beside it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from builders import Desk
from callers import Caller, service_key
from django.db import connection
from world import calls, says

from api import streaming
from runtime import tasks
from runtime.models import Run

RUNS = "agents/refund-desk/runs"
REFUND = calls(("refund_order", {"order_id": "1042", "amount_cents": 12_900}))


@pytest.fixture
def app(committed_desk: Desk) -> Caller:
    return service_key("acme", "3" * 16, committed_desk.cast.alice.id)


@pytest.fixture
def worker(committed_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker that begins once the run was committed."""
    threads: list[threading.Thread] = []

    def carry_on(tenant: str, run: str) -> None:
        try:
            tasks.carry_on(tenant, run)
        finally:
            connection.close()

    def send(_task: str, args: list[str], **_: Any) -> None:
        threads.append(threading.Thread(target=carry_on, args=args))
        threads[-1].start()

    monkeypatch.setattr("runtime.nudges.current_app.send_task", send)
    yield
    for thread in threads:
        thread.join()


def _events(body: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    blocks = [block for block in body.decode().split("\n\n") if block and block[0] != ":"]
    parts = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [(part["id"], part["event"], json.loads(part["data"])) for part in parts]


@pytest.mark.usefixtures("worker")
def test_a_client_may_wait_for_the_answer(committed_desk: Desk, app: Caller) -> None:
    committed_desk.world.script[:] = [says("For 30 days.")]
    answer = app.stream("POST", RUNS, {"task": "How long?"}, prefer="respond-async, wait=20")
    assert (answer.status_code, answer["Preference-Applied"]) == (200, "wait=20")
    shown = json.loads(answer.body)
    assert (shown["state"], shown["answer"]["text"]) == ("completed", "For 30 days.")
    assert answer["Location"] == f"/api/v1/runs/{shown['id']}"


@pytest.mark.usefixtures("worker")
def test_waiting_ends_when_the_run_is_held(committed_desk: Desk, app: Caller) -> None:
    committed_desk.world.script[:] = [REFUND]
    answer = app.stream("POST", RUNS, {"task": "Refund 1042"}, prefer="wait=20")
    shown = json.loads(answer.body)
    assert (answer.status_code, shown["state"]) == (200, "held")
    assert shown["approval"]


@pytest.mark.soak
def test_who_waits_in_vain_gets_the_address(
    committed_desk: Desk, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.nudges.after_commit", lambda run: None)
    answer = app.stream("POST", RUNS, {"task": "?"}, prefer="wait=1", idempotency_key="k")
    assert (answer.status_code, json.loads(answer.body)["state"]) == (202, "active")
    committed_desk.world.script[:] = [says("So.")]
    committed_desk.work(Run.objects.get())
    again = app.stream("POST", RUNS, {"task": "?"}, prefer="wait=1", idempotency_key="k")
    assert (again.status_code, json.loads(again.body)["state"]) == (200, "completed")
    assert again["Idempotent-Replayed"] == "true"


@pytest.mark.usefixtures("worker")
def test_the_steps_of_a_new_run_are_streamed_until_it_rests(
    committed_desk: Desk, app: Caller
) -> None:
    committed_desk.world.script[:] = [REFUND]
    answer = app.stream("POST", RUNS, {"task": "Refund 1042"}, accept="text/event-stream")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    events = _events(answer.body)
    assert events[-1][1] == "run"
    assert events[-1][2]["state"] == "held"
    steps = [data for _, name, data in events if name == "step"]
    assert [step["number"] for step in steps] == sorted(step["number"] for step in steps)
    assert (steps[-1]["resource"], steps[-1]["state"]) == ("refund_order", "held")


def test_a_stream_is_resumed_after_the_last_event_that_arrived(
    committed_desk: Desk, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.nudges.after_commit", lambda run: None)
    committed_desk.world.script[:] = [
        calls(("look_up_order", {"order_id": "1042"})),
        says("It was delivered."),
    ]
    run = app.post(RUNS, {"task": "Where is order 1042?"}).json()["id"]
    committed_desk.work(Run.objects.get(pk=run))
    whole = _events(app.stream("GET", f"runs/{run}/events").body)
    assert [name for _, name, _ in whole] == ["step", "step", "step", "run"]
    rest = app.stream("GET", f"runs/{run}/events", last_event_id=whole[1][0])
    assert _events(rest.body) == whole[2:]
    done = app.stream("GET", f"runs/{run}/events", last_event_id=whole[-1][0])
    assert (done.status_code, done.body) == (204, b"")


async def test_a_stream_ends_with_its_client(
    committed_desk: Desk, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def look(*_: object) -> streaming.Look:
        nonlocal looks
        looks += 1
        return streaming.Look([(streaming.Seen(), "step", "{}")], streaming.Seen())

    monkeypatch.setattr(streaming, "changes", look)
    stream = streaming._stream(
        committed_desk.cast.tenant, committed_desk.agent.pk, streaming.Seen(), streaming.OVER
    )
    assert await anext(stream)
    await stream.aclose()
    assert looks == 1
