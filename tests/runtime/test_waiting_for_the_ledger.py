"""What a policy lets go only once the ledger has it: sealed, or cosigned by a witness."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import Desk, after
from django.db import connection
from own_places import WitnessProcess
from sealing import KEY, seal
from stage import SETS
from workbench import LOOKING, forbid_refunds, kinds, outcomes, propose, refund
from workbench import approval_of as approval_that_waits_of
from world import says

from audit import queries
from audit.anchoring import Anchoring
from audit.checkpoints import VerifierKey
from audit.queries import own_log
from audit.states import LedgerBehind
from countersign import places
from governance import policy_sets
from governance.policies import DEFAULT_POLICY, PolicyInvalid
from runtime import effects, runs, searching, sweeping, toolbox
from runtime.models import Run, RunState, StepState
from runtime.queries import steps_of, waits_for
from tenants import isolation

SEALED_REFUNDS = """
@id("refunds-are-sealed") @record("sealed")
permit (principal is Agent, action in [Action::"invoke", Action::"invoke_unattended"],
        resource == Tool::"refund_order");
"""
COSIGNED_REFUNDS = SEALED_REFUNDS.replace("sealed", "cosigned")
HELD_REFUNDS = SEALED_REFUNDS.replace(', Action::"invoke_unattended"', "")
SECOND = timedelta(seconds=1)


def adopt(desk: Desk, *policies: str) -> None:
    text = "".join([DEFAULT_POLICY, *policies])
    policy_sets.save(text, tools=toolbox.schemas, by=desk.cast.alice, now=desk.now)


def go_on(desk: Desk, run: Run, after: timedelta = SECOND) -> Run:
    """A worker takes the run again, so much later."""
    while runs.take_step(run.pk, holder="another", now=desk.now + after):
        pass
    run.refresh_from_db()
    return run


def _propose_what_is_to_be_sealed(desk: Desk) -> None:
    adopt(desk, SEALED_REFUNDS)
    assert propose(desk, refund()).state == RunState.WAITING


SETS["refund_waiting"] = lambda request: after(request, _propose_what_is_to_be_sealed)


@pytest.fixture
def refund_waiting(desk: Desk) -> Run:
    """A run whose refund is to be sealed before it is made, and that then says it is done."""
    desk.world.script[:] = [says("Done.")]
    return Run.objects.get()


@pytest.fixture
def witness(
    desk: Desk, tmp_path: Path, monkeypatch: Any, settings: Any
) -> Iterator[WitnessProcess]:
    """acme's witness, configured, and away."""
    settings.ALLOW_PRIVATE_ADDRESSES = True
    key = VerifierKey(own_log().origin, KEY.public_key())
    process = WitnessProcess(tmp_path, key)
    named = [str(key) for key in process.keys]
    monkeypatch.setattr(places, "witness_keys", lambda origin: named)
    yield process
    process.kill()


def cosign(witness: WitnessProcess) -> None:
    """What the sequencer's process does with a checkpoint."""
    seal()
    place = witness.place(own_log())
    with isolation.outside_tenants(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        Anchoring(place).round(connection.connection, datetime.now(UTC), threading.Event())


def test_what_is_to_be_sealed_is_not_done_while_the_sequencer_is_stopped(
    desk: Desk, refund_waiting: Run
) -> None:
    run = refund_waiting
    go_on(desk, go_on(desk, run), 2 * SECOND)
    assert desk.world.refunds == []
    assert run.state == RunState.WAITING
    assert waits_for(run) == (
        "It acts once its entries are sealed into the ledger: a policy asks for that."
    )
    assert kinds(run)[-2:] == ["intent.decided", "effect.begun"]


def test_what_is_sealed_is_done_once(desk: Desk, refund_waiting: Run) -> None:
    run = refund_waiting
    seal()
    go_on(desk, run)
    assert len(desk.world.refunds) == 1
    assert (run.state, waits_for(run)) == (RunState.COMPLETED, None)
    # Nothing more was recorded for it: what waited for its entry needs no other.
    assert kinds(run).count("intent.decided") == 3
    decided = [row.event for row in queries.entries(kind="intent.decided", correlation=run.pk)]
    assert [each["awaits"] for each in decided] == ["recorded", "sealed", "recorded"]


def test_sealing_the_decision_alone_is_not_enough(desk: Desk, monkeypatch: Any) -> None:
    adopt(desk, SEALED_REFUNDS)
    decide = effects.decisions.decide

    def sealed_at_once(*given: Any, **named: Any) -> Any:
        decision = decide(*given, **named)
        seal()
        return decision

    monkeypatch.setattr(effects.decisions, "decide", sealed_at_once)
    run = propose(desk, refund())
    go_on(desk, run)
    assert queries.access_entry(steps_of(run)[-1].decision).sealed
    assert (run.state, desk.world.refunds) == (RunState.WAITING, [])


def test_what_an_approval_let_go_waits_as_well(desk: Desk) -> None:
    adopt(desk, HELD_REFUNDS)
    run = propose(desk, refund())
    approval = approval_that_waits_of(run)
    runs.settle_approval(approval, verdict="approve", by=desk.cast.bob, now=desk.now)
    go_on(desk, run)
    assert (run.state, desk.world.refunds) == (RunState.WAITING, [])
    seal()
    go_on(desk, run, 3 * SECOND)
    assert (run.state, len(desk.world.refunds)) == (RunState.COMPLETED, 1)


def test_what_no_policy_asks_for_does_not_wait(desk: Desk) -> None:
    adopt(desk, SEALED_REFUNDS)
    assert propose(desk, LOOKING).state == RunState.COMPLETED


def test_a_worker_takes_it_once_a_pause_and_two_messages_are_one(
    desk: Desk, refund_waiting: Run
) -> None:
    run = refund_waiting
    looked: list[datetime] = []
    for milliseconds in range(0, 3_000, 50):
        before = run.lease_until
        go_on(desk, run, timedelta(milliseconds=milliseconds))
        if run.lease_until != before:
            looked.append(run.lease_until)
    assert 4 <= len(looked) <= 20
    assert all(later - at < SECOND for at, later in itertools.pairwise(looked))


def test_the_sweeper_finds_a_waiting_run_whose_message_was_lost(
    desk: Desk, refund_waiting: Run
) -> None:
    run = refund_waiting
    assert sweeping.forgotten_runs(desk.now + SECOND) == []
    assert sweeping.forgotten_runs(desk.now + 6 * SECOND) == [run.pk]


def test_what_is_not_sealed_in_time_fails_and_says_so(desk: Desk, settings: Any) -> None:
    settings.LEDGER_WAIT = 20 * SECOND
    adopt(desk, SEALED_REFUNDS)
    run = propose(desk, refund())
    go_on(desk, run, 21 * SECOND)
    assert run.state == RunState.FAILED
    assert run.failure == {
        "code": "ledger_behind",
        "message": (
            "Nothing was done: its entries were to be sealed within 20 seconds, and are not."
        ),
    }
    assert outcomes(run)[-1] == (StepState.FAILED, "ledger_behind")
    assert kinds(run)[-2:] == ["effect.failed", "run.failed"]
    seal()
    go_on(desk, run, 25 * SECOND)
    assert desk.world.refunds == []


def test_a_policy_that_changed_meanwhile_wins(desk: Desk, refund_waiting: Run) -> None:
    run = refund_waiting
    forbid_refunds(desk)
    seal()
    go_on(desk, run)
    assert desk.world.refunds == []
    assert run.state == RunState.COMPLETED
    assert outcomes(run)[1] == (StepState.DENIED, "forbidden")
    begun = kinds(run).index("effect.begun", 4)
    assert kinds(run)[begun : begun + 3] == ["effect.begun", "intent.decided", "effect.failed"]


def test_a_policy_that_became_stricter_meanwhile_wins(
    desk: Desk, refund_waiting: Run, witness: WitnessProcess
) -> None:
    run = refund_waiting
    adopt(desk, COSIGNED_REFUNDS)
    seal()
    go_on(desk, run)
    assert (run.state, desk.world.refunds) == (RunState.WAITING, [])
    assert steps_of(run)[-1].awaits == "cosigned"


@pytest.mark.parametrize("end", ["cancelled", "tool-removed"])
def test_what_waits_can_be_withdrawn_and_certainly_did_not_happen(
    desk: Desk, refund_waiting: Run, end: str
) -> None:
    run = refund_waiting
    ends: dict[str, Callable[[], Any]] = {
        "cancelled": lambda: runs.cancel(run, by=desk.cast.alice, now=desk.now),
        "tool-removed": lambda: _remove(desk),
    }
    ends[end]()
    seal()
    go_on(desk, run)
    assert desk.world.refunds == []
    assert run.is_over
    assert "effect.failed" in kinds(run)
    assert "effect.unknown" not in kinds(run)


def _remove(desk: Desk) -> None:
    adopt(desk)
    tool = toolbox.Tool.objects.get(slug="refund_order")
    toolbox.remove(tool, by=desk.cast.dave, now=desk.now)


def test_after_a_crash_in_the_act_the_next_try_waits_anew_and_may_have_happened(
    desk: Desk, refund_waiting: Run, monkeypatch: Any, settings: Any
) -> None:
    run = refund_waiting
    seal()

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(effects, "perform", die)
    with pytest.raises(KeyboardInterrupt):
        go_on(desk, run)
    monkeypatch.undo()
    settings.ALLOW_PRIVATE_ADDRESSES = True
    go_on(desk, run, 60 * SECOND)
    assert (run.state, steps_of(run)[-1].attempts) == (RunState.WAITING, 2)
    go_on(desk, run, 600 * SECOND)
    assert outcomes(run)[-1] == (StepState.UNKNOWN, "ledger_behind")
    assert "effect.unknown" in kinds(run)


def test_what_is_to_be_cosigned_waits_while_the_witness_is_away(
    desk: Desk, witness: WitnessProcess
) -> None:
    adopt(desk, COSIGNED_REFUNDS)
    run = propose(desk, refund())
    seal()
    go_on(desk, run)
    assert (run.state, desk.world.refunds) == (RunState.WAITING, [])
    assert waits_for(run) == (
        "It acts once a witness has cosigned its entries: a policy asks for that."
    )
    witness.start()
    cosign(witness)
    go_on(desk, run, 3 * SECOND)
    assert (run.state, len(desk.world.refunds)) == (RunState.COMPLETED, 1)


def test_a_cosignature_of_a_witness_that_is_not_configured_counts_for_nothing(
    desk: Desk, witness: WitnessProcess, monkeypatch: Any
) -> None:
    adopt(desk, COSIGNED_REFUNDS)
    run = propose(desk, refund())
    witness.start()
    cosign(witness)
    monkeypatch.setattr(places, "witness_keys", lambda origin: ["another+00000000+AAAA"])
    go_on(desk, run)
    assert (run.state, desk.world.refunds) == (RunState.WAITING, [])


def test_a_policy_that_asks_for_a_cosignature_needs_a_witness(desk: Desk) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        adopt(desk, COSIGNED_REFUNDS)
    (flaw,) = refused.value.details["errors"]
    line = DEFAULT_POLICY.count("\n") + 2
    assert (flaw["line"], flaw["message"]) == (line, "no witness is configured to wait for")


def test_without_its_witness_what_is_to_be_cosigned_is_denied(
    desk: Desk, witness: WitnessProcess, monkeypatch: Any
) -> None:
    adopt(desk, COSIGNED_REFUNDS)
    monkeypatch.setattr(places, "witness_keys", lambda origin: [])
    run = propose(desk, refund())
    assert outcomes(run)[1] == (StepState.DENIED, "no_witness")
    assert desk.world.refunds == []


def test_a_search_outside_of_runs_waits_in_place_and_fails_in_time(
    stocked_desk: Desk, settings: Any
) -> None:
    desk = stocked_desk
    settings.LEDGER_WAIT_IN_PLACE = timedelta(milliseconds=100)
    text = """
    @id("searches-are-sealed") @record("sealed")
    permit (principal, action, resource is Collection);
    """
    adopt(desk, text)
    with pytest.raises(LedgerBehind) as late:
        searching.find(desk.collection, "kettles", by=desk.cast.alice, now=desk.now)
    assert late.value.details["awaits"] == "sealed"
    newest = queries.entries()[0]
    assert (newest.kind, newest.event["code"]) == ("effect.failed", "ledger_behind")
