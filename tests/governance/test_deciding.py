"""Decisions: no effect without one, and each of them in the ledger."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from cast import Cast
from django.db import transaction

from audit import queries
from audit.canonical import NotCanonical
from audit.ledger import NotInTransaction
from governance import decisions, events, grants, intents, policy_sets
from governance.decisions import Allowed, Denied, Held
from governance.intents import CallModel, UseTool
from governance.models import Approval, PolicySet
from governance.permits import PermitSpent
from governance.resources import Resource
from tenants import isolation
from tests.governance.desk import Desk


def last_entry() -> Any:
    return queries.entries(kind="intent.decided").first()


def test_a_granted_read_runs_unattended_with_a_permit_for_it(desk: Desk) -> None:
    decision = desk.decide(desk.lookup())
    assert isinstance(decision, Allowed)
    decision.permit.spend(desk.lookup())
    with pytest.raises(PermitSpent):
        decision.permit.spend(desk.lookup())


def test_a_granted_write_is_held_and_its_approval_shows_what_led_to_it(desk: Desk) -> None:
    evidence = [
        {"kind": "passage", "title": "Returns handbook", "text": "Refunds\x00 within 30 days"}
    ]
    decision = desk.decide(desk.refund(), evidence=evidence)
    assert isinstance(decision, Held)
    approval = Approval.objects.get(pk=decision.approval.pk)
    assert approval.intent == intents.as_json(desk.refund())
    assert approval.digest == desk.refund().digest
    assert (approval.state, approval.agent, approval.policy_version) == (
        "pending",
        "refund-desk",
        2,
    )
    assert approval.requester == desk.robo.id
    assert approval.agent_author == desk.acme.dave.id
    assert approval.evidence[0]["text"] == "Refunds\ufffd within 30 days"


def test_what_is_held_twice_waits_in_one_approval(desk: Desk) -> None:
    first, second = desk.decide(desk.refund()), desk.decide(desk.refund())
    assert isinstance(first, Held)
    assert isinstance(second, Held)
    assert first.approval == second.approval
    assert Approval.objects.count() == 1


def test_an_agent_without_a_grant_is_denied_before_any_policy(desk: Desk) -> None:
    grants.revoke("refund-desk", desk.tool, by=desk.acme.alice)
    decision = desk.decide(desk.refund())
    assert isinstance(decision, Denied)
    assert decision.code == "not_granted"
    assert last_entry().event["policy_version"] == 0


def test_another_agents_grant_is_not_this_ones(desk: Desk) -> None:
    decision = desk.decide(desk.refund(principal="other-desk"))
    assert isinstance(decision, Denied)
    assert decision.code == "not_granted"


def test_the_decision_is_recorded_with_the_policies_that_brought_it_about(desk: Desk) -> None:
    decision = desk.decide(desk.refund())
    entry = last_entry()
    assert entry.id == decision.decision_id
    assert entry.correlation is not None
    assert str(entry.correlation) == desk.run
    assert (entry.actor.kind, entry.actor.id, entry.actor.version) == ("agent", "refund-desk", "3")
    assert entry.event == {
        "intent": events.commitment_of(desk.refund(), desk.robo),
        "action": "use_tool",
        "resource_kind": "Tool",
        "resource": "refund_order",
        "outcome": "held",
        "code": "unattended_not_permitted",
        "reasons": ["granted-tools"],
        "matched": ["granted-tools"],
        "policy_version": 2,
        "policy_sha256": PolicySet.objects.get(active=True).sha256,
        "step": 2,
        "approval": str(Approval.objects.get().pk),
        "awaits": "recorded",
        "grant": grants.find("refund-desk", desk.resource_of(desk.refund())),
    }


def test_the_arguments_are_not_in_the_ledger(desk: Desk) -> None:
    desk.decide(desk.refund(arguments={"order_id": "Erin Example", "amount": "many"}))
    assert last_entry().event["code"] == "policy_error"
    assert not queries.entries(text="Erin Example").exists()


def test_no_decision_without_a_transaction(committed_desk: Desk) -> None:
    desk = committed_desk
    with pytest.raises(NotInTransaction):
        decisions.decide(
            desk.lookup(),
            principal=desk.robo,
            resource=desk.resource_of(desk.lookup()),
            authors=desk.authors,
            now=desk.now,
        )


def test_a_tenant_without_policies_denies_everything(desk: Desk) -> None:
    PolicySet.objects.all().delete()
    decision = desk.decide(desk.lookup())
    assert isinstance(decision, Denied)
    assert decision.code == "no_policy"


def test_an_erroring_forbid_denies_and_is_named(desk: Desk) -> None:
    desk.save(
        '@id("all") permit(principal, action, resource);'
        '@id("cap") forbid(principal, action, resource) when {'
        " context.arguments has refund_order.amount"
        " && context.arguments.refund_order.amount * 4611686018427387904 > 10 };"
    )
    decision = desk.decide(desk.refund(arguments={"order_id": "A1", "amount": 4}))
    assert isinstance(decision, Denied)
    assert decision.code == "policy_error"
    assert last_entry().event["reasons"] == ["cap"]


def test_an_agent_whose_author_is_not_known_is_denied(desk: Desk) -> None:
    decision = desk.decide(desk.refund(), authors=None)
    assert isinstance(decision, Denied)
    assert decision.code == "principal_unclear"


def test_a_resource_other_than_the_one_named_is_denied(desk: Desk) -> None:
    with transaction.atomic():
        decision = decisions.decide(
            desk.lookup(),
            principal=desk.robo,
            resource=desk.resource_of(desk.refund()),
            authors=desk.authors,
            now=desk.now,
        )
    assert isinstance(decision, Denied)
    assert decision.code == "resource_mismatch"


def test_a_client_app_may_ask_a_model_but_use_no_tool(desk: Desk) -> None:
    route = Resource(kind="Route", slug="default", pk=str(uuid4()), attributes={})
    asked = CallModel(
        tenant="acme",
        principal_kind="client_app",
        principal=desk.robo.id,
        resource="default",
        arguments={},
    )
    used = desk.refund(principal_kind="client_app", principal=desk.robo.id, agent_version=None)
    with transaction.atomic():
        allowed = decisions.decide(
            asked, principal=desk.robo, resource=route, authors=None, now=desk.now
        )
    assert isinstance(allowed, Allowed)
    assert isinstance(desk.decide(used), Denied)


def test_nobody_decides_in_anothers_name(desk: Desk) -> None:
    forged = desk.refund(principal_kind="client_app", principal="somebody-else", agent_version=None)
    with pytest.raises(decisions.RequesterMismatch):
        desk.decide(forged)


def test_an_intent_of_another_tenant_is_refused(desk: Desk, globex: Cast) -> None:
    with isolation.acting_for(globex.tenant), pytest.raises(decisions.IntentForeign):
        desk.decide(desk.lookup())


def test_the_policies_of_two_tenants_do_not_mix(desk: Desk, globex: Cast) -> None:
    desk.save('@id("all") permit(principal, action, resource);')
    assert isinstance(desk.decide(desk.refund()), Allowed)
    with isolation.acting_for(globex.tenant):
        policy_sets.begin(desk.now)
        theirs = policy_sets.active()
    ours = policy_sets.active()
    assert ours is not None
    assert theirs is not None
    assert ours.sha256 != theirs.sha256
    assert ours.version == 3


def test_what_cannot_be_hashed_is_refused(desk: Desk) -> None:
    with pytest.raises(NotCanonical):
        desk.decide(desk.refund(arguments={"order_id": "A1", "amount": 1.5}))


def test_a_held_intent_that_no_row_can_keep_is_denied(desk: Desk) -> None:
    decision = desk.decide(desk.refund(arguments={"order_id": "A\x001", "amount": 1}))
    assert isinstance(decision, Denied)
    assert decision.code == "unstorable"


def test_where_nobody_can_wait_a_hold_is_a_denial_and_opens_no_approval(desk: Desk) -> None:
    decision = desk.decide(desk.refund(), may_hold=False)
    assert isinstance(decision, Denied)
    assert decision.code == "approval_needed"
    assert not Approval.objects.exists()
    assert (last_entry().event["outcome"], last_entry().event["code"]) == (
        "denied",
        "approval_needed",
    )
    assert isinstance(desk.decide(desk.lookup(), may_hold=False), Allowed)


def test_where_nobody_can_wait_a_pending_approval_denies_and_a_given_one_is_spent(
    desk: Desk,
) -> None:
    approval = desk.hold()
    decision = desk.decide(desk.refund(), may_hold=False)
    assert isinstance(decision, Denied)
    assert decision.code == "approval_needed"
    desk.approve(approval)
    assert isinstance(desk.decide(desk.refund(), may_hold=False), Allowed)


def test_a_rehearsal_says_what_a_decision_would_and_records_nothing(desk: Desk) -> None:
    before = queries.entries().count()
    for intent, outcome in ((desk.lookup(), "allowed"), (desk.refund(), "held")):
        verdict = decisions.rehearse(
            intent,
            principal=desk.robo,
            resource=desk.resource_of(intent),
            authors=desk.authors,
            policies=policy_sets.active(),
        )
        assert verdict.outcome == outcome
    assert queries.entries().count() == before
    assert not Approval.objects.exists()


def renew(desk: Desk, intent: UseTool, decision: Any) -> decisions.Decision:
    with transaction.atomic():
        return decisions.renew(
            intent,
            decision=decision,
            principal=desk.robo,
            resource=desk.resource_of(intent),
            authors=desk.authors,
            now=desk.now,
        )


def test_a_lost_permit_is_renewed_where_the_ledger_says_it_was_allowed(desk: Desk) -> None:
    before = desk.decide(desk.lookup())
    renewed = renew(desk, desk.lookup(), before.decision_id)
    assert isinstance(renewed, Allowed)
    assert last_entry().event["code"] == "renewed"


def test_a_permit_is_not_renewed_for_another_intent_or_a_held_one(desk: Desk) -> None:
    before, held = desk.decide(desk.lookup()), desk.decide(desk.refund())
    with pytest.raises(decisions.DecisionMismatch):
        renew(desk, desk.lookup(step=9), before.decision_id)
    with pytest.raises(decisions.DecisionMismatch):
        renew(desk, desk.refund(), held.decision_id)
    with pytest.raises(queries.EntryUnknown):
        renew(desk, desk.lookup(), uuid4())


def test_a_policy_that_changed_wins_over_a_renewal(desk: Desk) -> None:
    before = desk.decide(desk.lookup())
    desk.save('@id("none") forbid(principal, action, resource);')
    assert isinstance(renew(desk, desk.lookup(), before.decision_id), Denied)


def test_what_ran_unattended_and_is_held_now_waits_for_a_reviewer(desk: Desk) -> None:
    before = desk.decide(desk.lookup())
    desk.save('@id("ask") permit(principal, action == Action::"invoke", resource);')
    assert isinstance(renew(desk, desk.lookup(), before.decision_id), Held)


def test_an_approved_permit_that_was_lost_is_renewed(desk: Desk) -> None:
    desk.approve(desk.hold())
    before = desk.decide(desk.refund())
    assert isinstance(before, Allowed)
    again = renew(desk, desk.refund(), before.decision_id)
    assert isinstance(again, Allowed)
    assert again.approval == before.approval


def test_the_stored_intent_is_the_canonical_one(desk: Desk) -> None:
    approval = desk.hold()
    approval.refresh_from_db()
    assert intents.canonical.digest(approval.intent) == approval.digest
