"""Policy sets: immutable versions, of which one is in force."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from audit import queries as ledger
from governance import policy_sets, queries
from governance.decisions import Allowed, Held
from governance.models import PolicySet
from governance.policies import DEFAULT_POLICY, PolicyInvalid
from tenants.principals import NotPermitted, Principal
from tests.governance.desk import TOOLS, Desk

SMALL = (
    DEFAULT_POLICY
    + """
@id("small-refunds")
permit(principal is Agent, action == Action::"invoke_unattended", resource == Tool::"refund_order")
when { context.arguments has refund_order.amount
       && context.arguments.refund_order.amount <= 5000 };
"""
)


def in_force() -> PolicySet:
    return PolicySet.objects.get(active=True)


def test_a_tenant_begins_once(desk: Desk) -> None:
    before = in_force()
    assert policy_sets.begin(desk.now) == before
    PolicySet.objects.all().delete()
    begun = policy_sets.begin(desk.now)
    assert (begun.version, begun.text, begun.author) == (1, DEFAULT_POLICY, "countersign")


def test_a_saved_text_is_a_new_version_in_force(desk: Desk) -> None:
    before = in_force()
    saved = desk.save(SMALL)
    assert saved.version == before.version + 1
    assert in_force() == saved
    assert saved.author == desk.acme.alice.id
    compiled = policy_sets.active()
    assert compiled is not None
    assert (compiled.version, compiled.sha256) == (saved.version, saved.sha256)
    entry = ledger.entries(kind="policy.activated").first()
    assert entry is not None
    assert (entry.event["version"], entry.event["cause"]) == (saved.version, "saved")
    assert entry.actor.id == desk.acme.alice.id


def test_a_new_version_decides_from_then_on(desk: Desk) -> None:
    small = desk.refund(arguments={"order_id": "A1", "amount": 5000})
    assert isinstance(desk.decide(small), Held)
    desk.save(SMALL)
    assert isinstance(desk.decide(desk.refund(step=3, arguments=small.arguments)), Allowed)
    assert isinstance(desk.decide(desk.refund(step=4)), Held)


@pytest.mark.parametrize(
    "text", ["permit(", "permit(principal, action, resource);", SMALL.replace("amount", "sum")]
)
def test_a_text_that_is_not_valid_changes_nothing(desk: Desk, text: str) -> None:
    before = in_force()
    with pytest.raises(PolicyInvalid):
        desk.save(text)
    assert in_force() == before


@pytest.mark.parametrize("who", ["bob", "carol", "dave"])
def test_only_an_admin_sets_policies(desk: Desk, who: str) -> None:
    with pytest.raises(NotPermitted):
        policy_sets.save(SMALL, tools=TOOLS, by=getattr(desk.acme, who), now=desk.now)


def test_changed_tools_refit_the_text_in_force(desk: Desk) -> None:
    desk.save(SMALL)
    more: dict[str, Any] = {**TOOLS, "close_ticket": {"type": "object", "properties": {}}}
    refitted = policy_sets.refit(tools=more, by=desk.acme.dave, now=desk.now)
    assert refitted.text == SMALL
    assert "close_ticket" in refitted.schema
    assert in_force() == refitted


def test_unchanged_tools_refit_nothing(desk: Desk) -> None:
    before = in_force()
    assert policy_sets.refit(tools=TOOLS, by=desk.acme.dave, now=desk.now) == before


def test_a_tool_cannot_change_so_that_the_policies_no_longer_fit(desk: Desk) -> None:
    saved = desk.save(SMALL)
    retyped = {"type": "object", "properties": {"amount": {"type": "string"}}}
    with pytest.raises(PolicyInvalid), transaction.atomic():
        policy_sets.refit(tools={**TOOLS, "refund_order": retyped}, by=desk.acme.dave, now=desk.now)
    assert in_force() == saved


def test_members_with_a_say_read_the_policies_and_others_do_not(desk: Desk) -> None:
    saved = desk.save(SMALL)
    assert queries.access_policy_set(principal=desk.acme.bob) == saved
    assert queries.access_policy_set(1, principal=desk.acme.carol).version == 1
    assert queries.policy_sets(principal=desk.acme.dave).first() == saved
    with pytest.raises(queries.PolicyUnknown):
        queries.access_policy_set(99, principal=desk.acme.alice)
    viewer = Principal(kind="member", id="v", name="V", tenant="acme", roles=frozenset({"viewer"}))
    with pytest.raises(NotPermitted):
        queries.access_policy_set(principal=viewer)
