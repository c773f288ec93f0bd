from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import HANDBOOK, Desk, furnish
from cast import Cast
from celery import Celery, current_app
from django.conf import settings as django_settings
from django.db import DatabaseError
from workbench import LARGE, approval_of, propose, refund
from world import World, says

from governance.models import State
from retrieval import documents
from retrieval.models import Document
from runtime import ingesting, leases, nudges, runs, sweeping, tasks
from runtime.models import Run, RunState
from tenants import isolation


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What was put into the queue."""
    messages: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        current_app, "send_task", lambda name, args, **_: messages.append((name, args))
    )
    return messages


def test_a_run_that_nobody_works_on_is_found_again(desk: Desk) -> None:
    run = desk.ask("?", says("Yes."))
    assert sweeping.forgotten_runs(desk.now) == [], "its nudge may be on its way"
    assert sweeping.forgotten_runs(desk.later(seconds=6)) == [run.pk]


def test_a_living_lease_is_left_alone_and_a_dead_one_taken_over(desk: Desk) -> None:
    run = desk.ask("?", says("Yes."))
    assert leases.take(run.pk, holder="first", now=desk.now) is not None
    alive = desk.now + django_settings.LEASE
    assert sweeping.forgotten_runs(alive) == []
    assert leases.take(run.pk, holder="second", now=alive) is None
    dead = alive + timedelta(seconds=1)
    assert sweeping.forgotten_runs(dead) == [run.pk]
    assert leases.take(run.pk, holder="second", now=dead) is not None


def test_runs_that_rest_or_are_over_are_not_found(desk: Desk) -> None:
    held = propose(desk, refund(LARGE))
    over = desk.work(desk.ask("?", says("Yes.")))
    cancelled = desk.ask("?", says("Yes."))
    runs.cancel(cancelled, by=desk.cast.robo, now=desk.now)
    assert sweeping.forgotten_runs(desk.later(days=1)) == []
    for run in (held, over, cancelled):
        assert not runs.take_step(run.pk, holder="worker", now=desk.later(days=1))


def test_two_workers_of_one_name_are_two() -> None:
    assert tasks._holder() != tasks._holder()
    assert len(tasks._holder()) <= 64


def test_a_document_that_waits_too_long_is_found_again_and_a_ready_one_not(desk: Desk) -> None:
    document = ingesting.upload(desk.collection, "a.md", HANDBOOK, by=desk.cast.alice, now=desk.now)
    assert sweeping.forgotten_documents(desk.later(seconds=59)) == []
    assert sweeping.forgotten_documents(desk.later(seconds=61)) == [document.pk]
    ingesting.ingest(document.pk, now=desk.now)
    assert sweeping.forgotten_documents(desk.later(seconds=61)) == []


def test_starting_a_run_and_settling_an_approval_nudge_a_worker_after_the_commit(
    committed_acme: Cast, world: World, now: Any, sent: list[Any]
) -> None:
    desk = furnish(committed_acme, world, now)
    run = propose(desk, refund(LARGE))
    wanted = ("runtime.carry_on", ["acme", str(run.pk)])
    assert sent == [wanted]
    runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.bob, now=now)
    assert sent == [wanted, wanted]


def test_a_sweep_queues_what_was_left_behind_in_every_tenant(
    committed_acme: Cast, world: World, now: Any, sent: list[Any]
) -> None:
    desk = furnish(committed_acme, world, now)
    forgotten = desk.ask("?", says("Yes."))
    held = propose(desk, refund(LARGE))
    document = ingesting.upload(desk.collection, "a.md", HANDBOOK, by=desk.cast.alice, now=now)
    sent.clear()
    with isolation.outside_tenants():
        tasks.sweep()  # by the clock, which is long after noon
    assert ("runtime.ingest", ["acme", str(document.pk)]) in sent
    assert sent.count(("runtime.carry_on", ["acme", str(forgotten.pk)])) == 1
    assert ("runtime.carry_on", ["acme", str(held.pk)]) in sent, "its approval had expired"
    assert approval_of(held).state == State.EXPIRED


def test_a_tenant_that_can_not_be_swept_does_not_keep_the_others_waiting(
    committed_acme: Cast,
    world: World,
    now: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    swept = []

    def expire(_: object) -> int:
        swept.append(isolation.current().slug)
        if swept[-1] == "acme":
            raise DatabaseError("a broken tenant")
        return 0

    monkeypatch.setattr(runs, "expire_approvals", expire)
    with isolation.outside_tenants():
        tasks.sweep()
    assert swept == ["acme", "globex"]
    assert "acme could not be swept" in caplog.text


def test_the_task_carries_a_run_to_its_end(committed_acme: Cast, world: World) -> None:
    desk = furnish(committed_acme, world, datetime.now(UTC))
    run = desk.ask("?", says("Yes."))
    with isolation.outside_tenants():
        tasks.carry_on("acme", str(run.pk))
        tasks.carry_on("globex", str(run.pk))
    run.refresh_from_db()
    assert (run.state, run.lease_holder) == (RunState.COMPLETED, None)


def test_the_task_indexes_a_document_and_a_removed_one_is_only_logged(
    committed_acme: Cast, world: World, now: Any, caplog: pytest.LogCaptureFixture
) -> None:
    desk = furnish(committed_acme, world, now)
    document = ingesting.upload(desk.collection, "a.md", HANDBOOK, by=desk.cast.alice, now=now)
    with isolation.outside_tenants():
        tasks.ingest("acme", str(document.pk))
    document = Document.objects.get(pk=document.pk)
    assert document.state == "ready"
    documents.remove(document, by=desk.cast.alice)
    with isolation.outside_tenants():
        tasks.ingest("acme", str(document.pk))
    assert "There is no document" in caplog.text


def test_an_unreachable_queue_loses_nothing_and_keeps_nobody_waiting(
    committed_acme: Cast,
    world: World,
    now: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = furnish(committed_acme, world, now)
    down = Celery("down", broker="amqp://127.0.0.1:1//", set_as_current=False)
    monkeypatch.setattr(nudges, "current_app", down)
    began = time.monotonic()
    with caplog.at_level(logging.ERROR):
        run = runs.start("Secret task", agent=desk.agent, principal=desk.cast.robo, now=now)
    assert time.monotonic() - began < 2
    assert Run.objects.get(pk=run.pk).state == RunState.ACTIVE
    assert sweeping.forgotten_runs(desk.later(seconds=6)) == [run.pk]
    assert "Connection refused" in caplog.text
    assert "Secret task" not in caplog.text


def test_a_nudge_of_what_was_rolled_back_is_never_sent(desk: Desk, sent: list[Any]) -> None:
    nudges.after_commit(desk.agent.pk)  # in the test's transaction, which is never committed
    assert sent == []


def test_a_document_is_ingested_by_one_worker_at_a_time_and_given_up_after_three(
    desk: Desk,
) -> None:
    row = ingesting.upload(desk.collection, "a.txt", b"Words.", by=desk.cast.alice, now=desk.now)
    for attempt in range(3):
        now = desk.later(hours=attempt)
        assert documents.claim(row.pk, until=now + ingesting.CLAIM, now=now), "its worker dies"
        assert not documents.claim(row.pk, until=now + ingesting.CLAIM, now=now)
        ingesting.ingest(row.pk, now=now)
        assert Document.objects.get(pk=row.pk).state == "queued", "somebody else has it"
        assert sweeping.forgotten_documents(now) == []
        assert sweeping.forgotten_documents(now + 2 * ingesting.CLAIM) == [row.pk]
    ingesting.ingest(row.pk, now=desk.later(hours=9))
    given_up = Document.objects.get(pk=row.pk)
    assert (given_up.state, given_up.error_code) == ("failed", "document_interrupted")
