from __future__ import annotations

from uuid import UUID

import pytest
from builders import Desk
from cast import Cast
from workbench import (
    LARGE,
    LOOKING,
    SMALL,
    allow_small_refunds,
    approval_of,
    error_told,
    forbid_refunds,
    kinds,
    outcomes,
    propose,
    publish,
    redefine,
    refund,
    told,
)
from world import calls, says

from audit.queries import entries
from gateway.models import Route
from governance import grants
from governance.approvals import (
    AlreadySettled,
    ApprovalExpired,
    ReasonRequired,
)
from governance.models import Approval, State
from governance.queries import ApprovalUnknown, access_approval, votable
from governance.voting import AuthorCannotVote, RequesterCannotVote
from runtime import runs, toolbox
from runtime.models import Run, RunState, Tool
from runtime.runs import RunOver
from tenants import isolation, members
from tenants.principals import NotPermitted, Principal


@pytest.fixture
def held(desk: Desk, large_refund_held: None) -> tuple[Desk, Run]:
    """A run that rests until a large refund is settled, and then says that it is done."""
    desk.world.script[:] = [says("Done.")]
    return desk, Run.objects.get(state=RunState.HELD)


def _settle(desk: Desk, run: Run, verdict: str, reason: str = "") -> Run:
    approval = approval_of(run)
    runs.settle_approval(approval, verdict=verdict, by=desk.cast.bob, now=desk.now, reason=reason)
    return desk.work(run)


def test_a_small_refund_runs_unattended(desk: Desk) -> None:
    run = propose(allow_small_refunds(desk), refund(SMALL))
    assert run.state == RunState.COMPLETED
    assert desk.world.refunds == [{"order_id": "1042", "amount_cents": SMALL}]
    assert not Approval.objects.exists()


def test_a_large_refund_rests_with_its_exact_arguments_and_what_led_to_it(desk: Desk) -> None:
    run = propose(allow_small_refunds(desk), LOOKING, refund(LARGE))
    approval = approval_of(run)
    assert (run.state, run.lease_holder) == (RunState.HELD, None)
    assert approval.intent["arguments"] == {"order_id": "1042", "amount_cents": LARGE}
    assert [piece["kind"] for piece in approval.evidence] == ["task", "result"]
    assert '"total_cents": 12900' in approval.evidence[1]["text"]
    assert desk.world.refunds == []
    assert desk.work(run).state == RunState.HELD, "nobody takes a step of a run that rests"


def test_an_approved_refund_happens_once_with_exactly_those_arguments(
    held: tuple[Desk, Run],
) -> None:
    desk, run = held
    _settle(desk, run, "approve")
    assert run.state == RunState.COMPLETED
    assert desk.world.refunds == [{"order_id": "1042", "amount_cents": LARGE}]
    assert approval_of(run).state == State.SPENT
    desk.work(run)
    assert len(desk.world.refunds) == 1


def test_the_same_refund_again_needs_another_approval(held: tuple[Desk, Run]) -> None:
    desk, run = held
    desk.world.script[:] = [calls(refund(LARGE), first_id="call_9"), says("Twice.")]
    _settle(desk, run, "approve")
    assert run.state == RunState.HELD
    assert len(desk.world.refunds) == 1
    assert Approval.objects.filter(run=run.pk).count() == 2


def test_a_rejected_refund_is_told_with_the_reviewers_reason(held: tuple[Desk, Run]) -> None:
    desk, run = held
    with pytest.raises(ReasonRequired):
        _settle(desk, run, "reject")
    _settle(desk, run, "reject", reason="The kettle was used.")
    assert error_told(desk) == {"code": "rejected", "message": "The kettle was used."}
    assert outcomes(run)[1] == ("denied", "rejected")
    assert (run.state, desk.world.refunds) == (RunState.COMPLETED, [])


def test_the_first_vote_settles_it(held: tuple[Desk, Run]) -> None:
    desk, run = held
    _settle(desk, run, "reject", reason="No.")
    with pytest.raises(AlreadySettled):
        _settle(desk, run, "approve")
    assert desk.world.refunds == []


def test_neither_a_key_nor_an_auditor_votes(held: tuple[Desk, Run]) -> None:
    desk, run = held
    for by in (desk.cast.robo, desk.cast.carol):
        with pytest.raises(NotPermitted):
            runs.settle_approval(approval_of(run), verdict="approve", by=by, now=desk.now)
    run.refresh_from_db()
    assert run.state == RunState.HELD


def _as_reviewer(principal: Principal) -> Principal:
    return Principal(
        kind="member",
        id=principal.id,
        name=principal.name,
        tenant=principal.tenant,
        roles=principal.roles | {"reviewer"},
    )


def test_the_author_does_not_vote_even_as_a_reviewer(held: tuple[Desk, Run]) -> None:
    desk, run = held
    with pytest.raises(AuthorCannotVote):
        runs.settle_approval(
            approval_of(run), verdict="approve", by=_as_reviewer(desk.cast.dave), now=desk.now
        )


def test_who_wrote_the_version_that_acts_does_not_vote_either(desk: Desk) -> None:
    publish(desk, by=desk.cast.alice)
    run = propose(allow_small_refunds(desk), refund(LARGE))
    with pytest.raises(AuthorCannotVote):
        runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.alice, now=desk.now)
    assert not votable(principal=desk.cast.alice).exists()
    assert votable(principal=desk.cast.bob).exists()
    _settle(desk, run, "approve")
    assert len(desk.world.refunds) == 1


def test_who_asked_for_the_run_does_not_vote(desk: Desk) -> None:
    allow_small_refunds(desk)
    desk.world.script[:] = [calls(refund(LARGE)), says("Done.")]
    run = runs.start("Refund.", agent=desk.agent, principal=desk.cast.bob, now=desk.now)
    desk.work(run)
    with pytest.raises(RequesterCannotVote):
        _settle(desk, run, "approve")


def test_a_policy_that_forbids_it_meanwhile_wins_over_the_approval(
    held: tuple[Desk, Run],
) -> None:
    desk, run = held
    approval = approval_of(run)
    runs.settle_approval(approval, verdict="approve", by=desk.cast.bob, now=desk.now)
    forbid_refunds(desk)
    desk.work(run)
    assert outcomes(run)[1] == ("denied", "forbidden")
    assert error_told(desk)["code"] == "forbidden"
    assert desk.world.refunds == []


def test_a_reviewer_who_left_after_voting_opens_nothing(held: tuple[Desk, Run]) -> None:
    desk, run = held
    runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.bob, now=desk.now)
    members.remove(UUID(desk.cast.bob.id), by=desk.cast.alice)
    desk.work(run)
    assert outcomes(run)[1] == ("denied", "voter_barred")
    assert error_told(desk)["code"] == "voter_barred"
    assert desk.world.refunds == []


def test_a_grant_that_was_revoked_meanwhile_wins_over_the_approval(
    held: tuple[Desk, Run],
) -> None:
    desk, run = held
    runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.bob, now=desk.now)
    grants.revoke("refund-desk", Tool.objects.get(slug="refund_order"), by=desk.cast.alice)
    desk.work(run)
    assert outcomes(run)[1] == ("denied", "not_granted")
    assert desk.world.refunds == []


def test_a_tool_that_was_changed_after_the_approval_is_not_what_was_approved(
    held: tuple[Desk, Run],
) -> None:
    desk, run = held
    runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.bob, now=desk.now)
    redefine(desk, "refund_order", url=f"{desk.world.address}/elsewhere")
    assert runs.take_step(run.pk, holder="worker", now=desk.now)
    assert approval_of(run).state == State.CANCELLED, "at once, not when the run ends"
    desk.work(run)
    assert outcomes(run)[1] == ("refused", "tool_changed")
    assert error_told(desk)["code"] == "tool_changed"
    assert (run.state, desk.world.refunds) == (RunState.COMPLETED, [])
    assert "approval.spent" not in kinds(run)


def test_a_new_key_for_the_tool_changes_nothing_that_was_approved(
    held: tuple[Desk, Run],
) -> None:
    desk, run = held
    redefine(desk, "refund_order", headers={"X-Key": "the new one"})
    _settle(desk, run, "approve")
    assert len(desk.world.refunds) == 1


def test_arguments_that_do_not_fit_the_tool_any_more_are_refused(held: tuple[Desk, Run]) -> None:
    desk, run = held
    schema = toolbox.schemas()["refund_order"]
    schema["properties"]["amount_cents"]["maximum"] = 100
    redefine(desk, "refund_order", parameters=schema)
    _settle(desk, run, "approve")
    assert outcomes(run)[1] == ("refused", "invalid_arguments")
    assert (run.state, desk.world.refunds) == (RunState.COMPLETED, [])


def test_a_tool_that_was_removed_after_the_approval_is_told_to_be_unknown(desk: Desk) -> None:
    run = propose(desk, refund(LARGE))
    toolbox.remove(Tool.objects.get(slug="refund_order"), by=desk.cast.dave, now=desk.now)
    _settle(desk, run, "approve")
    assert outcomes(run)[1] == ("refused", "unknown_tool")
    assert approval_of(run).state == State.CANCELLED
    assert (run.state, desk.world.refunds) == (RunState.COMPLETED, [])


def test_a_route_that_is_granted_no_more_ends_the_run(desk: Desk) -> None:
    grants.revoke("refund-desk", Route.objects.get(slug="answers"), by=desk.cast.alice)
    run = desk.work(desk.ask("?", says("never asked")))
    assert (run.state, run.failure["code"]) == (RunState.FAILED, "not_granted")
    assert desk.world.asked == []


def test_an_approval_that_nobody_gave_in_time_expires_and_the_model_is_told(
    held: tuple[Desk, Run],
) -> None:
    desk, run = held
    assert runs.expire_approvals(desk.later(hours=23)) == 0
    assert runs.expire_approvals(desk.later(hours=25)) == 1
    run.refresh_from_db()
    assert run.state == RunState.ACTIVE
    assert runs.take_step(run.pk, holder="worker", now=desk.later(hours=25))
    desk.work(run)
    assert error_told(desk)["code"] == "approval_expired"
    assert desk.world.refunds == []
    assert kinds(run).count("run.resumed") == 1


def test_a_vote_after_the_time_is_over_is_refused(held: tuple[Desk, Run]) -> None:
    desk, run = held
    with pytest.raises(ApprovalExpired):
        runs.settle_approval(
            approval_of(run), verdict="approve", by=desk.cast.bob, now=desk.later(days=2)
        )


def test_an_approval_that_was_given_but_not_used_in_time_opens_nothing(
    held: tuple[Desk, Run],
) -> None:
    desk, run = held
    runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.bob, now=desk.now)
    runs.take_step(run.pk, holder="worker", now=desk.later(days=2))
    assert outcomes(run)[1] == ("denied", "approval_expired")
    assert desk.world.refunds == []


def test_a_cancelled_run_takes_its_approval_with_it(held: tuple[Desk, Run]) -> None:
    desk, run = held
    runs.cancel(run, by=desk.cast.robo, now=desk.now)
    assert approval_of(run).state == State.CANCELLED
    with pytest.raises(AlreadySettled):
        _settle(desk, run, "approve")
    desk.work(run)
    assert (run.state, desk.world.refunds) == (RunState.CANCELLED, [])
    with pytest.raises(RunOver):
        runs.cancel(run, by=desk.cast.robo, now=desk.now)


def test_a_run_that_waited_too_long_ends_and_its_approval_is_withdrawn(desk: Desk) -> None:
    publish(desk, limits_={"seconds": 60})
    run = propose(allow_small_refunds(desk), refund(LARGE))
    runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.bob, now=desk.now)
    runs.take_step(run.pk, holder="worker", now=desk.later(seconds=61))
    run.refresh_from_db()
    assert (run.state, run.failure["code"]) == (RunState.FAILED, "limit_reached")
    assert approval_of(run).state == State.CANCELLED
    assert desk.world.refunds == []


def test_an_approval_of_another_step_does_not_wake_the_run(held: tuple[Desk, Run]) -> None:
    desk, run = held
    other = Approval.objects.get(pk=approval_of(run).pk)
    other.pk, other.digest, other.expires_at = None, "0" * 64, desk.later(hours=1)
    other.save(force_insert=True)
    assert runs.expire_approvals(desk.later(hours=2)) == 1
    run.refresh_from_db()
    assert run.state == RunState.HELD


@pytest.mark.parametrize("name", ["bob@acme.test", "BOB@acme.test"])
def test_who_is_named_by_address_as_the_one_asked_for_has_no_vote(desk: Desk, name: str) -> None:
    desk.world.script[:] = [calls(refund(LARGE)), says("Done.")]
    robo, now, bob = desk.cast.robo, desk.now, desk.cast.bob
    run = runs.start("Refund!", agent=desk.agent, principal=robo, now=now, on_behalf_of=name)
    desk.work(run)
    approval = approval_of(run)
    assert bob.id in approval.excluded
    with pytest.raises(RequesterCannotVote):
        runs.settle_approval(approval, verdict="approve", by=bob, now=now)


def test_mallory_can_not_see_or_settle_what_acme_holds(
    held: tuple[Desk, Run], globex: Cast
) -> None:
    desk, run = held
    approval = approval_of(run)
    mallory = globex.mallory
    with isolation.acting_for(globex.tenant):
        with pytest.raises(ApprovalUnknown):
            access_approval(approval.pk, principal=mallory)
        with pytest.raises(Approval.DoesNotExist):
            runs.settle_approval(approval, verdict="approve", by=mallory, now=desk.now)
    desk.work(run)
    assert (run.state, desk.world.refunds) == (RunState.HELD, [])


def test_the_ledger_tells_a_held_refund_in_order(held: tuple[Desk, Run]) -> None:
    desk, run = held
    _settle(desk, run, "approve")
    about_step_two = [
        entry.kind
        for entry in entries(correlation=run.pk).reverse()
        if entry.kind.startswith(("approval.", "run.")) or entry.event.get("step") == 2
    ]
    assert about_step_two == [
        "run.started",
        "approval.opened",
        "intent.decided",
        "run.held",
        "approval.approved",
        "run.resumed",
        "approval.spent",
        "intent.decided",
        "effect.begun",
        "effect.ended",
        "run.completed",
    ]
    assert told(desk)[-1]["status"] == "refunded"
