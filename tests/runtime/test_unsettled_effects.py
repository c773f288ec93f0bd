"""The only place that tests that what began and never ended is said to be unknown, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from builders import Desk
from cast import Cast
from django.db import transaction
from workbench import LOOKING, kinds, outcomes
from world import calls, says

from audit import ledger, queries
from audit.events import SYSTEM
from audit.unsettled import PATIENCE
from audit.verify.effects import LONGEST_EFFECT
from runtime import acts, doors, searching, tasks, unsettled
from runtime.events import EffectEnded
from runtime.models import Run
from tenants import isolation

AT_ONCE = timedelta(0)
ENDINGS = ("effect.ended", "effect.failed", "effect.unknown")


class Killed(BaseException):
    """The process is gone: nothing after this line ran."""


@pytest.fixture
def killed_search(stocked_desk: Desk) -> Desk:
    """A desk at which a search, and the embedding of its query, began and never ended."""
    honest = acts._record

    def record(act: Any, *events: Any) -> Any:
        if any(event.kind in ENDINGS for event in events):
            raise Killed
        return honest(act, *events)

    _told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acts, "_record", record)
        with pytest.raises(Killed):
            searching.find(
                stocked_desk.collection,
                "refund windows",
                by=stocked_desk.cast.robo,
                now=stocked_desk.now,
            )
    return stocked_desk


def _told() -> int:
    """Settle what the tests before this one left."""
    from cast import NOON

    return unsettled.tell(NOON, patience=AT_ONCE)


def _unknown() -> list[dict[str, Any]]:
    found = queries.entries(kind="effect.unknown").reverse()
    return [entry.event for entry in found if entry.event["code"] == unsettled.CODE]


def test_acts_outside_of_runs_that_were_killed_become_unknown_once(
    killed_search: Desk, caplog: pytest.LogCaptureFixture
):
    before = len(_unknown())
    assert unsettled.tell(killed_search.now) == 0, "they may be under way"
    assert unsettled.tell(killed_search.now, patience=AT_ONCE) == 2
    assert unsettled.tell(killed_search.now, patience=AT_ONCE) == 0
    search, embedding = _unknown()[before:]
    assert (search["action"], search["resource"]) == ("search_collection", "handbook")
    assert (embedding["action"], embedding["resource"]) == ("call_model", "embed")
    begun = {entry.event["decision"]: entry for entry in queries.entries(kind="effect.begun")}
    for event in (search, embedding):
        assert begun[event["decision"]].event["intent"] == event["intent"]
    assert "2 effects were begun and never ended" in caplog.text


def test_what_ended_is_left_alone(stocked_desk: Desk):
    _told()
    found = searching.find(
        stocked_desk.collection, "refund", by=stocked_desk.cast.robo, now=stocked_desk.now
    )
    assert found
    stocked_desk.work(stocked_desk.ask("Where is it?", calls(LOOKING), says("On its way.")))
    assert unsettled.tell(stocked_desk.now, patience=AT_ONCE) == 0


def test_an_outcome_that_comes_late_is_not_doubled(killed_search: Desk):
    unsettled.tell(killed_search.now, patience=AT_ONCE)
    event = {**_unknown()[-1], "outcome": "0" * 64}
    del event["code"]
    begun = next(
        entry
        for entry in queries.entries(kind="effect.begun")
        if entry.event["decision"] == event["decision"]
    )
    with transaction.atomic():
        person = killed_search.cast.robo.actor.person
        ledger.record(
            EffectEnded(**event), actor=SYSTEM, correlation=begun.correlation, person=person
        )
    before = len(_unknown())
    assert unsettled.tell(killed_search.now, patience=AT_ONCE) == 0
    assert len(_unknown()) == before


@pytest.fixture
def killed_run(desk: Desk) -> tuple[Desk, Run]:
    """A run whose worker died while it looked something up."""
    _told()
    honest = doors.act

    def act(intent: Any, *args: Any, **how: Any) -> Any:
        if intent.action == "use_tool":
            raise Killed
        return honest(intent, *args, **how)

    run = desk.ask("Where is it?", calls(LOOKING), says("On its way."))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doors, "act", act)
        with pytest.raises(Killed):
            desk.work(run)
    return desk, run


def test_what_a_living_worker_does_is_left_alone(killed_run: tuple[Desk, Run]):
    desk, _ = killed_run
    assert unsettled.tell(desk.now, patience=AT_ONCE) == 0


def test_a_run_that_nobody_took_up_is_told_and_may_be_taken_up_all_the_same(
    killed_run: tuple[Desk, Run],
):
    desk, run = killed_run
    later = desk.later(minutes=40)
    assert unsettled.tell(later, patience=AT_ONCE) == 1
    assert unsettled.tell(later, patience=AT_ONCE) == 0
    assert kinds(run)[-1] == "effect.unknown"
    desk.now = later
    desk.work(run)
    assert (run.state, outcomes(run)[1]) == ("completed", ("ended", None))
    assert kinds(run).count("effect.unknown") == 1
    closing = queries.entries(correlation=run.pk, kind="run.completed").get()
    assert closing.event["entries"] == len(kinds(run))


def test_a_step_that_can_not_be_taken_up_is_not_called_unknown_twice(
    killed_run: tuple[Desk, Run], monkeypatch: pytest.MonkeyPatch
):
    desk, run = killed_run
    later = desk.later(minutes=40)
    unsettled.tell(later, patience=AT_ONCE)
    monkeypatch.setattr("runtime.interruptions.may_be_taken_up", lambda *_: False)
    monkeypatch.setattr("runtime.interruptions.did_no_harm", lambda *_: False)
    desk.now = later
    desk.work(run)
    assert outcomes(run)[1] == ("unknown", "effect_interrupted")
    assert kinds(run).count("effect.unknown") == 1


def test_it_is_told_before_the_verifier_misses_an_outcome():
    from countersign.settings import CELERY_BEAT_SCHEDULE

    named = {each["task"]: each["schedule"] for each in CELERY_BEAT_SCHEDULE.values()}
    assert PATIENCE + 2 * timedelta(seconds=named[tasks.tell_unknown.name]) < LONGEST_EFFECT


def test_every_tenant_is_looked_at(killed_search: Desk, monkeypatch: pytest.MonkeyPatch):
    looked: list[str] = []

    def tell(_now: object) -> int:
        looked.append(isolation.current().slug)
        raise queries.EntryUnknown(entry="broken")

    monkeypatch.setattr(unsettled, "tell", tell)
    tasks.tell_unknown()
    assert {"acme", "globex"} <= set(looked)


def test_another_tenants_effects_are_not_seen(killed_search: Desk, globex: Cast):
    with isolation.acting_for(globex.tenant):
        assert unsettled.tell(killed_search.now, patience=AT_ONCE) == 0
    assert unsettled.tell(killed_search.now, patience=AT_ONCE) == 2
