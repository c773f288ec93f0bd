from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import Desk, furnish
from cast import Cast
from django.db import DatabaseError, connection
from workbench import LOOKING, SMALL, allow_small_refunds, kinds, redefine, refund
from world import World, calls, says

from gateway.models import Provider
from runtime import doors, leases, sweeping
from runtime.models import Run, RunState
from runtime.queries import steps_of
from tests.environment import ROOT

WORKER = """
import sys, django
django.setup()
from runtime import tasks
tasks.carry_on("acme", sys.argv[1])
"""
LEASE = 2


@pytest.fixture
def busy_desk(committed_acme: Cast, world: World, settings: Any) -> Desk:
    """A desk by the real clock, whose rows other processes see and whose model may take long."""
    settings.LEASE = timedelta(seconds=LEASE)
    desk = allow_small_refunds(furnish(committed_acme, world, datetime.now(UTC)))
    Provider.objects.update(timeout_seconds=100)
    return desk


@pytest.fixture
def hire() -> Iterator[Callable[[Run], subprocess.Popen[str]]]:
    """Start a worker process for a run. It is killed at the end."""
    hired: list[subprocess.Popen[str]] = []

    def start(run: Run) -> subprocess.Popen[str]:
        settings = connection.settings_dict
        url = f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "countersign.settings",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
            "COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES": "true",
            "COUNTERSIGN_LEASE_SECONDS": str(LEASE),
        }
        command = [sys.executable, "-c", WORKER, str(run.pk)]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        hired.append(subprocess.Popen(command, env=environment, cwd=ROOT, **output))
        return hired[-1]

    yield start
    for worker in hired:
        worker.kill()
        worker.communicate()


class Slow:
    """Somebody outside who tells that they were asked, and answers once they may."""

    def __init__(self) -> None:
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def wait(self, worker: subprocess.Popen[str]) -> None:
        """Until they were asked by the worker, who needs some seconds to start."""
        while not self.asked.wait(0.1):
            assert worker.poll() is None, worker.communicate()[0]

    def __call__(self, _: object) -> Any:
        if not self.asked.is_set():
            self.asked.set()
            self.may_answer.wait(60)
        return False


def _wait(reached: Callable[[], object], *, seconds: float = 60) -> float:
    """Returns the seconds that it took."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    return time.monotonic() - began


def _is_forgotten() -> bool:
    return bool(sweeping.forgotten_runs(datetime.now(UTC)))


def _take_over(desk: Desk, run: Run) -> Run:
    desk.now = datetime.now(UTC)
    return desk.work(run, holder="the second")


@pytest.mark.soak
def test_the_run_of_a_worker_killed_in_a_model_call_goes_on_once_its_lease_is_over(
    busy_desk: Desk, hire: Callable[[Run], subprocess.Popen[str]]
) -> None:
    model = Slow()
    run = busy_desk.ask("?", lambda body: model(body) or says("Lost."), says("Yes."))
    worker = hire(run)
    model.wait(worker)
    time.sleep(LEASE)  # it has renewed its lease
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert not _is_forgotten(), "its last renewal holds"
    assert _wait(_is_forgotten) <= LEASE + 1
    model.may_answer.set()
    _take_over(busy_desk, run)
    assert (run.state, run.answer["text"]) == (RunState.COMPLETED, "Yes.")
    assert [(step.state, step.attempts) for step in steps_of(run)] == [("ended", 2)]


@pytest.mark.soak
def test_a_living_worker_keeps_its_run_for_as_long_as_the_model_takes(
    busy_desk: Desk, hire: Callable[[Run], subprocess.Popen[str]]
) -> None:
    model = Slow()
    run = busy_desk.ask("?", lambda body: model(body) or says("Yes."))
    worker = hire(run)
    model.wait(worker)
    deadline = time.monotonic() + 3 * LEASE
    while time.monotonic() < deadline:
        assert leases.take(run.pk, holder="a thief", now=datetime.now(UTC)) is None
        time.sleep(0.1)
    model.may_answer.set()
    assert worker.wait(60) == 0
    run.refresh_from_db()
    assert (run.state, len(busy_desk.world.asked)) == (RunState.COMPLETED, 1)


@pytest.mark.soak
def test_a_stopped_worker_that_wakes_after_another_took_its_run_changes_nothing(
    busy_desk: Desk, hire: Callable[[Run], subprocess.Popen[str]]
) -> None:
    tool = busy_desk.world.tool_reply = Slow()
    redefine(busy_desk, "refund_order", timeout_seconds=60)
    run = busy_desk.ask("Refund.", calls(refund()), says("Done."))
    worker = hire(run)
    tool.wait(worker)
    worker.send_signal(signal.SIGSTOP)
    _wait(_is_forgotten)
    _take_over(busy_desk, run)
    assert run.state == RunState.COMPLETED
    before = kinds(run)
    tool.may_answer.set()
    worker.send_signal(signal.SIGCONT)
    said, _ = worker.communicate(timeout=60)
    assert "worked on by somebody else" in said
    assert kinds(run) == before
    assert before.count("effect.ended") == 3, "one for each step"
    assert busy_desk.world.refunds == [{"order_id": "1042", "amount_cents": SMALL}]


@pytest.mark.soak
def test_a_stopped_worker_whose_run_nobody_took_goes_on(
    busy_desk: Desk, hire: Callable[[Run], subprocess.Popen[str]]
) -> None:
    model = Slow()
    run = busy_desk.ask("?", lambda body: model(body) or says("Yes."))
    worker = hire(run)
    model.wait(worker)
    worker.send_signal(signal.SIGSTOP)
    _wait(_is_forgotten)
    worker.send_signal(signal.SIGCONT)
    _wait(lambda: not _is_forgotten())
    model.may_answer.set()
    assert worker.wait(60) == 0
    run.refresh_from_db()
    assert (run.state, len(busy_desk.world.asked)) == (RunState.COMPLETED, 1)


def _leases_while_acting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> dict[str, datetime]:
    until = {}
    real = doors.act

    def seen(intent: Any, *args: Any, **kwargs: Any) -> Any:
        until[intent.resource] = Run.objects.get().lease_until
        return real(intent, *args, **kwargs)

    monkeypatch.setattr(doors, "act", seen)
    return until


def test_only_a_write_that_may_not_be_repeated_is_left_alone_until_its_time_out(
    desk: Desk, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_small_refunds(desk)
    redefine(desk, "look_up_order", timeout_seconds=120)
    redefine(desk, "refund_order", timeout_seconds=120, repeatable=False)
    until = _leases_while_acting(desk, monkeypatch)
    desk.work(desk.ask("Look.", calls(LOOKING, refund()), says("Done.")))
    assert until["refund_order"] > desk.now + timedelta(seconds=120)
    assert until["look_up_order"] == until["answers"] == desk.now + settings.LEASE


def test_a_repeatable_write_is_taken_up_as_soon_as_the_lease_is_over(
    desk: Desk, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_small_refunds(desk)
    redefine(desk, "refund_order", timeout_seconds=120)
    until = _leases_while_acting(desk, monkeypatch)
    desk.work(desk.ask("Refund.", calls(refund()), says("Done.")))
    assert until["refund_order"] == desk.now + settings.LEASE


@pytest.fixture
def leased(busy_desk: Desk, settings: Any) -> Run:
    """A run that this process has leased for a third of a second at a time."""
    settings.LEASE = timedelta(seconds=0.3)
    run = busy_desk.ask("?", says("Yes."))
    taken = leases.take(run.pk, holder="worker", now=busy_desk.now)
    assert taken is not None
    return taken


def test_a_renewal_that_fails_is_tried_again(
    leased: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failed = leases.keep, []

    def keep(run: Run, *, until: datetime) -> None:
        if threading.current_thread() is not threading.main_thread() and not failed:
            failed.append(True)
            raise DatabaseError("the server is restarted")
        real(run, until=until)

    monkeypatch.setattr(leases, "keep", keep)
    began = datetime.now(UTC)
    with leases.kept(leased, now=began):
        _wait(lambda: _until(leased) > began + timedelta(seconds=0.5))
    assert "could not be renewed" in caplog.text
    leases.keep(leased, until=began)  # and it is ours still


def _until(run: Run) -> datetime:
    return Run.objects.values_list("lease_until", flat=True).get(pk=run.pk)


def test_a_lost_lease_is_renewed_no_more_and_never_taken_back(leased: Run) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    with leases.kept(leased, now=datetime.now(UTC)):
        assert leases.take(leased.pk, holder="a thief", now=later) is not None
        stolen = _until(leased)
        time.sleep(0.4)
        assert _until(leased) == stolen
        assert [t.name for t in threading.enumerate() if t.name.startswith("lease of")] == []
    with pytest.raises(leases.LeaseLost):
        leases.keep(leased, until=later)


def test_nothing_is_renewed_once_the_act_is_over_however_it_ended(leased: Run) -> None:
    with pytest.raises(ZeroDivisionError), leases.kept(leased, now=datetime.now(UTC)):
        _ = 1 // 0
    until = _until(leased)
    time.sleep(0.3)
    assert _until(leased) == until
