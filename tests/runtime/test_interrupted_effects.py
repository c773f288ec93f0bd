from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from builders import Desk, furnish
from cast import Cast
from django.db import connection
from workbench import (
    LARGE,
    LOOKING,
    SMALL,
    Listening,
    allow_small_refunds,
    answering,
    approval_of,
    error_told,
    forbid_refunds,
    kinds,
    outcomes,
    redefine,
    refund,
)
from world import World, calls, says

from audit.queries import entries
from governance import policy_sets
from governance.models import Approval, State
from governance.policies import DEFAULT_POLICY
from runtime import doors, interruptions, leases, runs, toolbox
from runtime.leases import LeaseLost
from runtime.models import Run, RunState, Step, StepState, Tool
from runtime.queries import steps_of
from tenants import isolation


class Died(BaseException):
    """The process was killed: nothing after this line ran."""


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Make the next worker die right after (or before) it has acted for the intent's action."""
    real = doors.act

    def arrange(action: str, *, times: int = 1, before: bool = False) -> None:
        left = [times]

        def act(intent: Any, *args: Any, **kwargs: Any) -> Any:
            if intent.action != action or not left[0]:
                return real(intent, *args, **kwargs)
            left[0] -= 1
            if not before:
                real(intent, *args, **kwargs)
            raise Died

        monkeypatch.setattr(doors, "act", act)

    return arrange


def _work_until_it_dies(desk: Desk, run: Run) -> None:
    with pytest.raises(Died):
        desk.work(run, holder="the first")
    run.refresh_from_db()


def _take_over(desk: Desk, run: Run) -> Run:
    """Another worker finds the run once the lease of the first is over."""
    desk.now = desk.later(minutes=10)
    return desk.work(run, holder="the second")


def _steps(run: Run) -> list[tuple[str, int]]:
    return [(step.state, step.attempts) for step in steps_of(run)]


def test_a_repeatable_refund_is_taken_up_under_the_same_key_and_happens_once(
    desk: Desk, die: Callable[..., None]
) -> None:
    allow_small_refunds(desk)
    heard = desk.world.tool_reply = Listening()
    die("use_tool")
    run = desk.ask("Refund.", calls(refund()), says("Done."))
    _work_until_it_dies(desk, run)
    assert _steps(run) == [("ended", 1), ("begun", 1)]
    desk.work(run, holder="the second")
    assert len(heard.keys) == 1, "the lease of the dead worker still holds"
    _take_over(desk, run)
    assert run.state == RunState.COMPLETED
    assert heard.keys == [f"{run.pk}-2"] * 2
    assert desk.world.refunds == [{"order_id": "1042", "amount_cents": SMALL}]
    begun = [entry.event for entry in entries(correlation=run.pk, kind="effect.begun").reverse()]
    assert [(e["step"], e["attempt"]) for e in begun] == [(1, 1), (2, 1), (2, 2), (3, 1)]
    assert kinds(run).count("effect.ended") == 3
    assert [e["code"] for e in _decided(run, step=2)] == ["permitted", "renewed"]


def _decided(run: Run, *, step: int) -> list[dict[str, Any]]:
    found = entries(correlation=run.pk, kind="intent.decided").reverse()
    return [entry.event for entry in found if entry.event["step"] == step]


def test_an_approved_refund_whose_worker_died_needs_no_second_approval(
    desk: Desk, die: Callable[..., None]
) -> None:
    run = desk.work(desk.ask("Refund.", calls(refund(LARGE)), says("Done.")))
    runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.bob, now=desk.now)
    die("use_tool")
    _work_until_it_dies(desk, run)
    _take_over(desk, run)
    assert run.state == RunState.COMPLETED
    assert len(desk.world.refunds) == 1
    assert Approval.objects.count() == 1


def test_a_refund_that_is_not_repeatable_is_never_called_twice(
    desk: Desk, die: Callable[..., None]
) -> None:
    allow_small_refunds(desk)
    redefine(desk, "refund_order", repeatable=False)
    heard = desk.world.tool_reply = Listening()
    die("use_tool")
    run = desk.ask("Refund.", calls(refund()), says("never said"))
    _work_until_it_dies(desk, run)
    _take_over(desk, run)
    assert len(heard.keys) == 1
    assert outcomes(run)[1] == ("unknown", "effect_interrupted")
    assert (run.state, run.failure["code"]) == (RunState.FAILED, "effect_interrupted")
    assert kinds(run)[-2:] == ["effect.unknown", "run.failed"]


@pytest.mark.parametrize("change", ["changed", "read", "removed"])
def test_a_refund_whose_tool_became_another_meanwhile_is_not_tried_again(
    desk: Desk, die: Callable[..., None], change: str
) -> None:
    policy = '@id("all") permit (principal, action, resource is Tool);'
    text = DEFAULT_POLICY + policy
    policy_sets.save(text, tools=toolbox.schemas, by=desk.cast.alice, now=desk.now)
    heard = desk.world.tool_reply = Listening()
    die("use_tool")
    run = desk.ask("Refund.", calls(refund()), says("never said"))
    _work_until_it_dies(desk, run)
    if change == "changed":
        redefine(desk, "refund_order", url=f"{desk.world.address}/other")
    elif change == "read":
        redefine(desk, "refund_order", method="GET", effect="read")
    else:
        toolbox.remove(Tool.objects.get(slug="refund_order"), by=desk.cast.dave, now=desk.now)
    _take_over(desk, run)
    assert len(heard.keys) == 1
    assert outcomes(run)[1] == ("unknown", "effect_interrupted")
    assert run.failure["code"] == "effect_interrupted"


@pytest.mark.parametrize("policy", ["forbids", "holds"])
def test_a_refund_that_is_allowed_no_more_is_not_tried_again_and_asks_nobody(
    desk: Desk, die: Callable[..., None], policy: str
) -> None:
    allow_small_refunds(desk)
    die("use_tool")
    run = desk.ask("Refund.", calls(refund()), says("never said"))
    _work_until_it_dies(desk, run)
    if policy == "forbids":
        forbid_refunds(desk)
    else:
        policy_sets.save(DEFAULT_POLICY, tools=toolbox.schemas, by=desk.cast.alice, now=desk.now)
    _take_over(desk, run)
    assert len(desk.world.refunds) == 1
    assert run.failure["code"] == "effect_interrupted"
    assert not Approval.objects.filter(state=State.PENDING).exists()


def test_a_second_try_that_fails_does_not_say_that_the_first_did_not_happen(
    desk: Desk, die: Callable[..., None]
) -> None:
    allow_small_refunds(desk)
    desk.world.tool_reply = Listening(None, answering({"message": "busy"}, 409))
    die("use_tool")
    run = desk.ask("Refund.", calls(refund()), says("never said"))
    _work_until_it_dies(desk, run)
    _take_over(desk, run)
    assert outcomes(run)[1] == ("unknown", "effect_uncertain")


def test_an_effect_that_kills_every_worker_is_given_up_after_three(
    desk: Desk, die: Callable[..., None]
) -> None:
    allow_small_refunds(desk)
    die("use_tool", times=10)
    run = desk.ask("Refund.", calls(refund()), says("never said"))
    _work_until_it_dies(desk, run)
    for _ in range(2):
        with pytest.raises(Died):
            _take_over(desk, run)
    _take_over(desk, run)
    assert _steps(run)[1] == ("unknown", 3)
    assert run.failure["code"] == "effect_interrupted"


@pytest.mark.parametrize("action", ["call_model", "use_tool"])
def test_what_only_reads_is_taken_up_again(
    desk: Desk, die: Callable[..., None], action: str
) -> None:
    die(action)
    run = desk.ask("Look.", calls(LOOKING), says("Delivered."))
    _work_until_it_dies(desk, run)
    desk.world.script[:] = [calls(LOOKING), says("Delivered.")][action == "use_tool" :]
    _take_over(desk, run)
    assert (run.state, run.answer["text"]) == (RunState.COMPLETED, "Delivered.")


def test_a_model_that_would_be_asked_something_else_now_is_asked_that(
    desk: Desk, die: Callable[..., None]
) -> None:
    die("call_model")
    run = desk.ask("Look.", says("Lost."))
    _work_until_it_dies(desk, run)
    redefine(desk, "look_up_order", description="Look an order up.")
    desk.world.script[:] = [says("Found.")]
    _take_over(desk, run)
    assert (run.state, run.answer["text"]) == (RunState.COMPLETED, "Found.")
    assert len({e["intent"] for e in _decided(run, step=1)}) == 2


def test_a_read_that_is_forbidden_meanwhile_is_denied_and_the_model_told(
    desk: Desk, die: Callable[..., None]
) -> None:
    die("use_tool")
    run = desk.ask("Look.", calls(LOOKING), says("I may not."))
    _work_until_it_dies(desk, run)
    text = DEFAULT_POLICY + '@id("no") forbid (principal, action, resource is Tool);'
    policy_sets.save(text, tools=toolbox.schemas, by=desk.cast.alice, now=desk.now)
    _take_over(desk, run)
    assert outcomes(run)[1] == ("denied", "forbidden")
    assert run.answer["text"] == "I may not."


def test_a_run_that_reaches_a_limit_with_an_effect_begun_says_that_it_is_unknown(
    desk: Desk, die: Callable[..., None]
) -> None:
    allow_small_refunds(desk)
    die("use_tool")
    run = desk.ask("Refund.", calls(refund()), says("never said"))
    _work_until_it_dies(desk, run)
    desk.now = desk.later(days=8)
    desk.work(run, holder="the second")
    assert run.failure["code"] == "limit_reached"
    assert outcomes(run)[1] == ("unknown", "effect_interrupted")
    assert kinds(run)[-2:] == ["effect.unknown", "run.failed"]


def test_a_worker_that_slept_too_long_drops_its_result(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_small_refunds(desk)
    heard = desk.world.tool_reply = Listening()
    real, slept = doors.act, []

    def sleepy(intent: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = real(intent, *args, **kwargs)
        if intent.action == "use_tool" and not slept:
            slept.append(True)
            _take_over(desk, run)  # meanwhile the lease ran out, and another took the step
        return outcome

    monkeypatch.setattr(doors, "act", sleepy)
    run = desk.ask("Refund.", calls(refund()), says("Done."))
    with pytest.raises(LeaseLost):
        desk.work(run, holder="the first")
    run.refresh_from_db()
    assert heard.keys == [f"{run.pk}-2"] * 2
    assert len(desk.world.refunds) == 1
    assert (run.state, _steps(run)) == (
        RunState.COMPLETED,
        [("ended", 1), ("ended", 2), ("ended", 1)],
    )
    assert kinds(run).count("effect.ended") == 3, "one for each step"


def test_an_effect_that_is_under_way_when_the_run_is_cancelled_gets_its_outcome(
    desk: Desk,
) -> None:
    allow_small_refunds(desk)
    run = desk.ask("Refund.", calls(refund()), says("never said"))

    def cancelling(_: object) -> bool:
        return False

    desk.world.tool_reply = cancelling
    real = doors.act

    def act(intent: Any, *args: Any, **kwargs: Any) -> Any:
        if intent.action == "use_tool":
            runs.cancel(run, by=desk.cast.robo, now=desk.now)
        return real(intent, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doors, "act", act)
        desk.work(run)
    assert run.state == RunState.CANCELLED
    assert outcomes(run)[1] == ("ended", None)
    assert kinds(run)[-2:] == ["run.cancelled", "effect.ended"]
    assert len(desk.world.asked) == 1, "nothing new began"


def test_an_effect_of_a_cancelled_run_whose_worker_died_is_said_to_be_unknown(
    desk: Desk, die: Callable[..., None]
) -> None:
    allow_small_refunds(desk)
    die("use_tool")
    run = desk.ask("Refund.", calls(refund()), says("never said"))
    _work_until_it_dies(desk, run)
    runs.cancel(run, by=desk.cast.robo, now=desk.now)
    assert interruptions.close_cancelled(desk.now) == 0, "its worker may be alive"
    assert interruptions.close_cancelled(desk.later(minutes=10)) == 1
    assert interruptions.close_cancelled(desk.later(minutes=20)) == 0
    assert outcomes(run)[1] == ("unknown", "effect_interrupted")
    assert kinds(run)[-2:] == ["run.cancelled", "effect.unknown"]


def test_a_door_that_closes_before_it_was_used_leaves_nothing_behind(
    desk: Desk, die: Callable[..., None]
) -> None:
    allow_small_refunds(desk)
    die("use_tool", before=True)
    run = desk.ask("Refund.", calls(refund()), says("Done."))
    _work_until_it_dies(desk, run)
    assert desk.world.refunds == []
    _take_over(desk, run)
    assert len(desk.world.refunds) == 1


def test_a_tool_changed_between_decision_and_use_is_not_called(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_small_refunds(desk)
    real = leases.keep

    def keep(*args: Any, **kwargs: Any) -> None:
        if Step.objects.filter(state=StepState.BEGUN, action="use_tool").exists():
            redefine(desk, "refund_order", url=f"{desk.world.address}/elsewhere")
        real(*args, **kwargs)

    monkeypatch.setattr(leases, "keep", keep)
    run = desk.work(desk.ask("Refund.", calls(refund()), says("Done.")))
    assert outcomes(run)[1] == ("failed", "tool_changed")
    assert error_told(desk)["code"] == "tool_changed"
    assert desk.world.refunds == []


# From here on with real connections, one a thread.


def _at_once(cast: Cast, *works: Callable[[], Any]) -> list[Any]:
    barrier, results = threading.Barrier(len(works)), []

    def run(work: Callable[[], Any]) -> None:
        try:
            with isolation.acting_for(cast.tenant):
                barrier.wait()
                results.append(work())
        except Exception as problem:  # noqa: BLE001 (the test looks at it)
            results.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.fixture
def committed_desk(committed_acme: Cast, world: World, now: Any) -> Desk:
    """A desk whose rows other connections see."""
    return allow_small_refunds(furnish(committed_acme, world, now))


def test_of_two_workers_one_takes_the_step(committed_desk: Desk) -> None:
    desk = committed_desk
    heard = desk.world.tool_reply = Listening()
    run = desk.ask("Refund.", calls(refund()), says("Done."))

    def worker(name: str) -> Callable[[], list[bool]]:
        def work() -> list[bool]:
            took = [runs.take_step(run.pk, holder=name, now=desk.now)]
            while took[-1]:
                took.append(runs.take_step(run.pk, holder=name, now=desk.now))
            return took

        return work

    results = _at_once(desk.cast, *(worker(f"worker {i}") for i in range(4)))
    run.refresh_from_db()
    assert sorted(map(len, results)) == [1, 1, 1, 4], results
    assert (run.state, len(heard.keys), len(desk.world.refunds)) == ("completed", 1, 1)
    assert len(steps_of(run)) == 3


def test_two_workers_that_wake_with_an_expired_lease_begin_the_step_once(
    committed_desk: Desk,
) -> None:
    desk = committed_desk
    run = desk.ask("Look.", calls(LOOKING), says("Done."))
    runs.take_step(run.pk, holder="dead", now=desk.now)
    later = desk.later(minutes=10)
    works = [lambda n=n: leases.take(run.pk, holder=n, now=later) for n in ("a", "b", "c")]
    taken = [found for found in _at_once(desk.cast, *works) if found is not None]
    assert len(taken) == 1


def test_a_vote_and_a_cancellation_at_once_end_in_one_of_the_two(committed_desk: Desk) -> None:
    desk = committed_desk
    for _ in range(5):
        run = desk.work(desk.ask("Refund.", calls(refund(LARGE)), says("Done.")))
        approval = approval_of(run)

        def vote(approval: Approval = approval) -> str:
            bob = desk.cast.bob
            return runs.settle_approval(approval, verdict="approve", by=bob, now=desk.now).state

        def cancel(run: Run = run) -> None:
            runs.cancel(run, by=desk.cast.robo, now=desk.now)

        results = _at_once(desk.cast, vote, cancel)
        run.refresh_from_db()
        assert run.state == RunState.CANCELLED, results
        assert {getattr(result, "code", result) for result in results} <= {
            None,
            "approved",
            "already_settled",
        }
        assert approval_of(run).state == State.CANCELLED
    assert desk.world.refunds == []


def test_two_reviewers_at_once_settle_it_once(committed_desk: Desk) -> None:
    desk = committed_desk
    run = desk.work(desk.ask("Refund.", calls(refund(LARGE)), says("Done.")))
    approval_id = approval_of(run).pk

    def settle(by: Any, verdict: str) -> Callable[[], Any]:
        def vote() -> str:
            approval = Approval.objects.get(pk=approval_id)
            runs.settle_approval(approval, verdict=verdict, by=by, now=desk.now, reason="Because.")
            return verdict

        return vote

    cast = desk.cast
    results = _at_once(cast, settle(cast.bob, "approve"), settle(cast.alice, "reject"))
    assert [getattr(r, "code", "settled") for r in results].count("already_settled") == 1
    desk.work(run)
    assert len(desk.world.refunds) == (1 if "approve" in results else 0)


def test_a_worker_on_another_connection_drops_its_result_when_it_was_too_slow(
    committed_desk: Desk,
) -> None:
    desk = committed_desk
    redefine(desk, "refund_order", timeout_seconds=3)
    arrived, go = threading.Event(), threading.Event()

    def slow(_: object) -> bool:
        if not arrived.is_set():
            arrived.set()
            go.wait(10)
        return False

    desk.world.tool_reply = slow
    run = desk.ask("Refund.", calls(refund()), says("Done."))

    def first() -> None:
        while runs.take_step(run.pk, holder="slow", now=desk.now):
            pass

    def second() -> None:
        arrived.wait(10)
        while runs.take_step(run.pk, holder="fast", now=desk.later(minutes=10)):
            pass
        go.set()

    results = _at_once(desk.cast, first, second)
    run.refresh_from_db()
    assert [type(r) for r in results] in ([type(None), LeaseLost], [LeaseLost, type(None)])
    assert run.state == RunState.COMPLETED
    assert len(desk.world.refunds) == 1
