"""Approvals: for exactly this, once, and never by oneself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cast import Cast
from django.db import transaction

from audit import queries as ledger
from governance import approvals, grants, queries, voting
from governance.approvals import (
    AlreadySettled,
    ApprovalExpired,
    ApprovalMismatch,
    ApprovalUnusable,
    ReasonRequired,
)
from governance.decisions import Allowed, Decision, Denied, Held
from governance.models import Approval, State, Vote
from governance.policies import Verdict
from governance.verdicts import Authors
from governance.voting import (
    CANNOT_VOTE,
    AuthorCannotVote,
    IssuerCannotVote,
    RequesterCannotVote,
    VoterBarred,
)
from tenants import isolation, members
from tenants.keys import issuing
from tenants.principals import NotPermitted, Principal
from tests.governance.desk import Desk, at_once

LATE = approvals.WAITS


def kinds(desk: Desk) -> list[str]:
    entries = ledger.entries(kind="approval.", correlation=UUID(desk.run))
    return [entry.kind for entry in entries][::-1]


def denial(decision: Decision) -> tuple[str, str]:
    assert isinstance(decision, Denied)
    return decision.code, decision.reason


def test_an_approved_intent_is_allowed_once(desk: Desk) -> None:
    approval = desk.hold()
    desk.approve(approval, reason="within policy")
    decision = desk.decide(desk.refund())
    assert isinstance(decision, Allowed)
    decision.permit.spend(desk.refund())
    assert decision.approval is not None
    assert decision.approval.pk == approval.pk
    assert denial(desk.decide(desk.refund()))[0] == "approval_spent"
    assert kinds(desk) == ["approval.opened", "approval.approved", "approval.spent"]


def test_an_approval_is_for_exactly_these_arguments(desk: Desk) -> None:
    desk.approve(desk.hold())
    for changed in (
        desk.refund(arguments={"order_id": "A1", "amount": 9001}),
        desk.refund(agent_version="4"),
        desk.refund(step=3),
        desk.refund(run=str(uuid4())),
    ):
        assert isinstance(desk.decide(changed), Held)


def test_a_rejected_intent_is_denied_with_the_reviewers_reason(desk: Desk) -> None:
    approval = desk.hold()
    approvals.reject(approval, by=desk.acme.bob, now=desk.now, reason=" Too late. ")
    assert denial(desk.decide(desk.refund())) == ("rejected", "Too late.")
    assert denial(desk.decide(desk.refund())) == ("rejected", "Too late.")
    assert kinds(desk) == ["approval.opened", "approval.rejected"]


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_rejection_needs_a_reason(desk: Desk, reason: str) -> None:
    approval = desk.hold()
    with pytest.raises(ReasonRequired):
        approvals.reject(approval, by=desk.acme.bob, now=desk.now, reason=reason)
    approval.refresh_from_db()
    assert approval.state == State.PENDING
    assert not Vote.objects.exists()


def test_a_reviewer_and_an_admin_may_vote(desk: Desk) -> None:
    assert desk.approve(desk.hold()).state == State.APPROVED
    other = desk.hold(desk.refund(step=5))
    assert desk.approve(other, by=desk.acme.alice).state == State.APPROVED


@pytest.mark.parametrize("who", ["carol", "dave"])
def test_without_the_role_nobody_votes(desk: Desk, who: str) -> None:
    approval = desk.hold(authors=Authors(agent="somebody", version="else"))
    with pytest.raises(NotPermitted):
        desk.approve(approval, by=getattr(desk.acme, who))


def test_neither_a_key_nor_an_agent_votes_whatever_roles_it_has(desk: Desk) -> None:
    approval = desk.hold()
    for kind in ("client_app", "agent"):
        machine = Principal(
            kind=kind, id="m", name="M", tenant="acme", roles=frozenset({"admin", "reviewer"})
        )
        with pytest.raises(NotPermitted):
            desk.approve(approval, by=machine)


def test_the_requester_cannot_vote(desk: Desk) -> None:
    approval = desk.hold(principal=desk.acme.bob)
    for vote in (approvals.approve, approvals.reject):
        with pytest.raises(RequesterCannotVote):
            vote(approval, by=desk.acme.bob, now=desk.now, reason="mine")
    assert desk.approve(approval, by=desk.acme.alice).state == State.APPROVED


def test_whoever_issued_the_key_that_asked_cannot_vote(desk: Desk) -> None:
    key, _ = issuing.issue_service_key("app", by=desk.acme.alice, now=desk.now)
    app = Principal(kind="client_app", id=key.public_id, name="app", tenant="acme")
    approval = desk.hold(principal=app)
    for vote in (approvals.approve, approvals.reject):
        with pytest.raises(IssuerCannotVote):
            vote(approval, by=desk.acme.alice, now=desk.now, reason="mine")
    assert desk.approve(approval, by=desk.acme.bob).state == State.APPROVED


def test_whoever_it_is_done_for_cannot_vote(desk: Desk) -> None:
    approval = desk.hold(desk.refund(on_behalf_of=desk.acme.bob.id))
    with pytest.raises(RequesterCannotVote):
        desk.approve(approval)


@pytest.mark.parametrize("wrote", ["agent", "version"])
def test_neither_the_agents_author_nor_its_versions_can_vote(desk: Desk, wrote: str) -> None:
    ids = {"agent": desk.acme.dave.id, "version": desk.acme.dave.id, wrote: desk.acme.bob.id}
    approval = desk.hold(authors=Authors(**ids))
    for vote in (approvals.approve, approvals.reject):
        with pytest.raises(AuthorCannotVote):
            vote(approval, by=desk.acme.bob, now=desk.now, reason="mine")
    assert desk.approve(approval, by=desk.acme.alice).state == State.APPROVED


def test_the_row_lists_everybody_who_may_not_vote(desk: Desk) -> None:
    authors = Authors(agent=desk.acme.dave.id, version=desk.acme.alice.id)
    approval = desk.hold(desk.refund(on_behalf_of="erin"), authors=authors)
    approval.refresh_from_db()
    assert approval.excluded == sorted(
        ["erin", desk.robo.id, desk.acme.dave.id, desk.acme.alice.id]
    )


def test_votable_is_exactly_what_one_may_vote_on(desk: Desk) -> None:
    acme = desk.acme
    held = [
        desk.hold(desk.refund(step=5)),
        desk.hold(desk.refund(step=6), principal=acme.bob),
        desk.hold(desk.refund(step=7, on_behalf_of=acme.bob.id)),
        desk.hold(desk.refund(step=8), authors=Authors(agent=acme.bob.id, version=acme.alice.id)),
        desk.hold(desk.refund(step=9), authors=Authors(agent=acme.dave.id, version=acme.bob.id)),
    ]
    for who in (acme.alice, acme.bob, acme.carol, acme.dave, desk.robo):
        votable = list(queries.votable(principal=who))
        assert votable == [approval for approval in held if may_vote(approval, who)]
    assert len(queries.votable(principal=acme.alice)) == 4
    assert len(queries.votable(principal=acme.bob)) == 1


def may_vote(approval: Approval, who: Principal) -> bool:
    try:
        voting.check_may_vote(approval, who)
    except (NotPermitted, *CANNOT_VOTE):
        return False
    return True


def test_one_vote_settles(desk: Desk) -> None:
    approval = desk.approve(desk.hold())
    for vote in (approvals.approve, approvals.reject):
        with pytest.raises(AlreadySettled):
            vote(approval, by=desk.acme.alice, now=desk.now, reason="no")
    assert Vote.objects.get().member == desk.acme.bob.id


def test_a_stale_copy_of_the_row_settles_nothing(desk: Desk) -> None:
    stale = Approval.objects.get(pk=desk.hold().pk)
    approvals.reject(Approval.objects.get(pk=stale.pk), by=desk.acme.bob, now=desk.now, reason="no")
    with pytest.raises(AlreadySettled):
        desk.approve(stale, by=desk.acme.alice)
    assert stale.state == State.REJECTED


def test_after_its_time_nobody_votes(desk: Desk) -> None:
    approval = desk.hold()
    with pytest.raises(ApprovalExpired):
        desk.approve(approval, now=desk.now + LATE)
    assert Approval.objects.get().state == State.PENDING


def test_an_approval_that_was_not_used_in_time_allows_nothing(desk: Desk) -> None:
    desk.approve(desk.hold())
    assert denial(desk.decide(desk.refund(), now=desk.now + LATE))[0] == "approval_expired"
    assert denial(desk.decide(desk.refund()))[0] == "approval_expired"
    assert kinds(desk)[-1] == "approval.expired"


def test_what_is_overdue_expires_once_and_nothing_else(desk: Desk) -> None:
    overdue, used, fresh = desk.hold(), desk.hold(desk.refund(step=5)), desk.refund(step=6)
    desk.approve(used)
    desk.decide(desk.refund(step=5))
    desk.hold(fresh, now=desk.now + timedelta(hours=1))
    for approval in (overdue, used, Approval.objects.get(step=6)):
        assert not approvals.expire_one(approval, desk.now)
        approval.refresh_from_db()
        assert approvals.expire_one(approval, desk.now + LATE) == (approval == overdue)
    assert not approvals.expire_one(overdue, desk.now + LATE)
    states = Approval.objects.order_by("step").values_list("state", flat=True)
    assert list(states) == ["expired", "spent", "pending"]
    entry = ledger.entries(kind="approval.expired", correlation=UUID(desk.run)).get()
    assert (entry.actor.kind, entry.event["state_before"]) == ("system", "pending")


def test_a_policy_that_denies_now_wins_over_an_approval(desk: Desk) -> None:
    approval = desk.approve(desk.hold())
    desk.save('@id("freeze") forbid(principal, action, resource);')
    assert denial(desk.decide(desk.refund())) == ("forbidden", "A policy forbids it. (freeze)")
    approval.refresh_from_db()
    assert approval.state == State.APPROVED


def test_a_grant_that_was_revoked_wins_over_an_approval(desk: Desk) -> None:
    desk.approve(desk.hold())
    grants.revoke("refund-desk", desk.tool, by=desk.acme.alice)
    assert denial(desk.decide(desk.refund()))[0] == "not_granted"


@pytest.mark.parametrize("gone", ["left", "role", "excluded"])
def test_a_voter_who_may_not_vote_any_more_opens_nothing(desk: Desk, gone: str) -> None:
    approval = desk.approve(desk.hold())
    bob = UUID(desk.acme.bob.id)
    if gone == "left":
        members.remove(bob, by=desk.acme.alice)
    elif gone == "role":
        members.set_roles(bob, ["auditor"], by=desk.acme.alice)
    else:
        Approval.objects.filter(pk=approval.pk).update(excluded=[str(bob)])
    code, reason = denial(desk.decide(desk.refund()))
    assert code == "voter_barred"
    assert reason.startswith("Whoever approved it could not approve it any more.")
    assert "approval.spent" not in kinds(desk)


def test_a_rejection_wins_over_a_policy_that_allows_now(desk: Desk) -> None:
    approvals.reject(desk.hold(), by=desk.acme.bob, now=desk.now, reason="no")
    desk.save('@id("all") permit(principal, action, resource);')
    assert denial(desk.decide(desk.refund()))[0] == "rejected"


def test_what_is_pending_stays_held_though_a_policy_allows_now(desk: Desk) -> None:
    approval = desk.hold()
    desk.save('@id("all") permit(principal, action, resource);')
    decision = desk.decide(desk.refund())
    assert isinstance(decision, Held)
    assert decision.approval == approval


def test_outside_of_a_run_the_same_call_can_be_approved_again(desk: Desk) -> None:
    call = desk.refund(run=None, step=None)
    first = desk.hold(call)
    desk.approve(first)
    assert isinstance(desk.decide(call), Allowed)
    assert desk.hold(call).pk != first.pk


def test_outside_of_a_run_a_rejection_holds_for_as_long_as_an_approval_waits(desk: Desk) -> None:
    call = desk.refund(run=None, step=None)
    approvals.reject(desk.hold(call), by=desk.acme.bob, now=desk.now, reason="no")
    assert denial(desk.decide(call))[0] == "rejected"
    assert isinstance(desk.decide(call, now=desk.now + LATE), Held)


def test_a_cancelled_run_takes_its_approvals_with_it(desk: Desk) -> None:
    approval = desk.hold()
    (cancelled,) = approvals.cancel_of_run(approval.run, by=desk.acme.alice, now=desk.now)
    assert cancelled == approval
    with pytest.raises(AlreadySettled):
        desk.approve(approval)
    assert denial(desk.decide(desk.refund()))[0] == "approval_cancelled"
    assert kinds(desk)[-1] == "approval.cancelled"


class TestSpending:
    """Spending is only reached through a decision; these knock on the door itself."""

    HELD = Verdict(outcome="held", code="unattended_not_permitted")

    def test_spent_twice_is_refused(self, desk: Desk) -> None:
        desk.approve(desk.hold())
        assert approvals.spend(desk.refund(), verdict=self.HELD, now=desk.now).state == State.SPENT
        with pytest.raises(AlreadySettled):
            approvals.spend(desk.refund(), verdict=self.HELD, now=desk.now)

    def test_pending_cannot_be_spent(self, desk: Desk) -> None:
        desk.hold()
        with pytest.raises(AlreadySettled):
            approvals.spend(desk.refund(), verdict=self.HELD, now=desk.now)

    def test_without_an_approval_nothing_is_spent(self, desk: Desk) -> None:
        with pytest.raises(ApprovalUnusable):
            approvals.spend(desk.refund(), verdict=self.HELD, now=desk.now)

    def test_what_a_former_member_approved_is_refused_and_stays_unspent(self, desk: Desk) -> None:
        approval = desk.approve(desk.hold())
        members.remove(UUID(desk.acme.bob.id), by=desk.acme.alice)
        with pytest.raises(VoterBarred):
            approvals.spend(desk.refund(), verdict=self.HELD, now=desk.now)
        approval.refresh_from_db()
        assert approval.state == State.APPROVED

    def test_too_late_is_refused(self, desk: Desk) -> None:
        desk.approve(desk.hold())
        with pytest.raises(ApprovalExpired):
            approvals.spend(desk.refund(), verdict=self.HELD, now=desk.now + LATE)

    def test_denied_meanwhile_is_refused(self, desk: Desk) -> None:
        desk.approve(desk.hold())
        denied = Verdict(outcome="denied", code="forbidden")
        with pytest.raises(ApprovalUnusable):
            approvals.spend(desk.refund(), verdict=denied, now=desk.now)

    def test_a_row_whose_arguments_were_tampered_with_is_refused(self, desk: Desk) -> None:
        approval = desk.approve(desk.hold())
        tampered = approval.intent | {"arguments": {"order_id": "A1", "amount": 1}}
        Approval.objects.filter(pk=approval.pk).update(intent=tampered)
        with pytest.raises(ApprovalMismatch):
            approvals.spend(desk.refund(), verdict=self.HELD, now=desk.now)
        assert denial(desk.decide(desk.refund()))[0] == "approval_mismatch"


class TestSeeing:
    """Who may look at an approval."""

    @pytest.mark.parametrize("who", ["alice", "bob", "carol"])
    def test_reviewers_admins_and_auditors_see_it(self, desk: Desk, who: str) -> None:
        approval, reader = desk.hold(), getattr(desk.acme, who)
        assert queries.access_approval(approval.pk, principal=reader) == approval
        assert list(queries.pending(principal=reader)) == [approval]

    def test_its_requester_sees_it(self, desk: Desk) -> None:
        approval = desk.hold()
        assert queries.access_approval(approval.pk, principal=desk.robo) == approval

    def test_others_are_told_that_there_is_none(self, desk: Desk) -> None:
        approval = desk.hold()
        stranger = Principal(kind="client_app", id="other", name="Other", tenant="acme")
        for principal in (desk.acme.dave, stranger):
            with pytest.raises(queries.ApprovalUnknown):
                queries.access_approval(approval.pk, principal=principal)
        with pytest.raises(queries.ApprovalUnknown):
            queries.access_approval(uuid4(), principal=desk.acme.bob)

    def test_another_tenant_is_told_that_there_is_none(self, desk: Desk, globex: Cast) -> None:
        approval = desk.hold()
        with isolation.acting_for(globex.tenant), pytest.raises(queries.ApprovalUnknown):
            queries.access_approval(approval.pk, principal=globex.mallory)


class TestRaces:
    """Two real connections, real commits."""

    def test_of_two_reviewers_at_once_one_settles(self, committed_desk: Desk) -> None:
        desk = committed_desk
        for round_ in range(5):
            pk = desk.hold(desk.refund(step=10 + round_)).pk

            def yes(pk: Any = pk) -> Approval:
                return desk.approve(Approval.objects.get(pk=pk))

            def no(pk: Any = pk) -> Approval:
                approval = Approval.objects.get(pk=pk)
                return approvals.reject(approval, by=desk.acme.alice, now=desk.now, reason="no")

            results = at_once(desk, yes, no)
            assert sum(isinstance(result, AlreadySettled) for result in results) == 1
            assert Vote.objects.filter(approval=pk).count() == 1

    def test_of_many_workers_at_once_one_spends(self, committed_desk: Desk) -> None:
        desk = committed_desk
        desk.approve(desk.hold())
        results = at_once(desk, *[lambda: desk.decide(desk.refund())] * 6)
        assert sum(isinstance(result, Allowed) for result in results) == 1
        assert sum(isinstance(result, Denied) for result in results) == 5

    def test_of_many_workers_at_once_one_opens_the_approval(self, committed_desk: Desk) -> None:
        desk = committed_desk
        results = at_once(desk, *[lambda: desk.decide(desk.refund(run=None, step=None))] * 6)
        assert len({result.approval.pk for result in results}) == 1
        assert Approval.objects.count() == 1

    def test_a_vote_that_is_rolled_back_leaves_no_trace(self, committed_desk: Desk) -> None:
        desk = committed_desk
        approval = desk.hold()
        with transaction.atomic():
            desk.approve(approval)
            transaction.set_rollback(True)
        assert Approval.objects.get(pk=approval.pk).state == State.PENDING
        assert not Vote.objects.exists()
        assert kinds(desk) == ["approval.opened"]
