"""Policy sets: immutable versions, of which one is in force."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction

from audit import queries as ledger
from governance import policy_sets, queries
from governance.decisions import Allowed, Held
from governance.models import PolicySet
from governance.policies import DEFAULT_POLICY, PolicyInvalid
from governance.policy_sets import PolicyMoved
from runtime.models import Tool
from tenants.principals import NotPermitted, Principal
from tests.governance.desk import TOOLS, Desk, at_once, in_acme

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
        policy_sets.save(SMALL, tools=lambda: TOOLS, by=getattr(desk.acme, who), now=desk.now)


def test_a_text_written_on_another_version_than_the_one_in_force_changes_nothing(
    desk: Desk,
) -> None:
    before = in_force().version
    saved = desk.save(SMALL, based_on=before)
    for stale in (before, saved.version + 1, 0):
        with pytest.raises(PolicyMoved):
            desk.save(DEFAULT_POLICY, based_on=stale)
    assert in_force() == saved
    assert desk.save(DEFAULT_POLICY).version == saved.version + 1


def test_changed_tools_refit_the_text_in_force(desk: Desk) -> None:
    desk.save(SMALL)
    more: dict[str, Any] = {**TOOLS, "close_ticket": {"type": "object", "properties": {}}}
    refitted = policy_sets.refit(tools=lambda: more, by=desk.acme.dave, now=desk.now)
    assert refitted.text == SMALL
    assert "close_ticket" in refitted.schema
    assert in_force() == refitted


def test_unchanged_tools_refit_nothing(desk: Desk) -> None:
    before = in_force()
    assert policy_sets.refit(tools=lambda: TOOLS, by=desk.acme.dave, now=desk.now) == before


def test_a_tool_cannot_change_so_that_the_policies_no_longer_fit(desk: Desk) -> None:
    saved = desk.save(SMALL)
    retyped = {"type": "object", "properties": {"amount": {"type": "string"}}}
    tools = {**TOOLS, "refund_order": retyped}
    with pytest.raises(PolicyInvalid), transaction.atomic():
        policy_sets.refit(tools=lambda: tools, by=desk.acme.dave, now=desk.now)
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


CLOSED = DEFAULT_POLICY + '@id("closed") forbid(principal, action, resource == Tool::"burn");'


def schemas() -> dict[str, Any]:
    return dict(Tool.objects.values_list("slug", "parameters"))


def add_tool(desk: Desk, slug: str) -> PolicySet:
    """What adding a tool does: the row, then the policies fitted to it, in one commit."""
    with transaction.atomic():
        Tool.objects.create(
            slug=slug,
            description=slug,
            method="POST",
            url="https://orders.test/",
            parameters={"type": "object", "properties": {}},
            effect="write",
            created_at=desk.now,
        )
        return policy_sets.refit(tools=schemas, by=desk.acme.dave, now=desk.now)


def overtaken(desk: Desk, first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """`first` is done; `second` begins on another connection, and waits until it is committed."""
    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            first()
            waiting = other.submit(in_acme, desk, second)
            while not someone_waits():
                time.sleep(0.01)
                assert not waiting.done(), "it did not wait"
        return waiting.result(timeout=10)


def someone_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks AS mine JOIN pg_locks AS theirs"
            " ON mine.transactionid = theirs.transactionid AND NOT theirs.granted"
            " WHERE mine.pid = pg_backend_pid() AND mine.granted)"
        )
        return bool(cursor.fetchone()[0])


class TestRaces:
    """Two real connections, real commits."""

    def test_a_tool_added_meanwhile_does_not_bring_the_old_text_back(
        self, committed_desk: Desk
    ) -> None:
        desk = committed_desk
        refitted = overtaken(desk, lambda: desk.save(CLOSED), lambda: add_tool(desk, "burn"))
        assert in_force() == refitted
        assert refitted.text == CLOSED
        assert "burn" in refitted.schema

    def test_a_text_saved_meanwhile_does_not_lose_a_tool(self, committed_desk: Desk) -> None:
        desk = committed_desk

        def save() -> PolicySet:
            return policy_sets.save(CLOSED, tools=schemas, by=desk.acme.alice, now=desk.now)

        saved = overtaken(desk, lambda: add_tool(desk, "burn"), save)
        assert in_force() == saved
        assert "burn" in saved.schema

    def test_two_tools_added_at_once_are_both_known(self, committed_desk: Desk) -> None:
        desk = committed_desk
        overtaken(desk, lambda: add_tool(desk, "burn"), lambda: add_tool(desk, "close"))
        assert "burn" in in_force().schema
        assert "close" in in_force().schema

    def test_of_two_admins_with_the_same_version_before_them_one_is_refused(
        self, committed_desk: Desk
    ) -> None:
        desk, before = committed_desk, in_force().version
        results = at_once(desk, *[lambda: desk.save(SMALL, based_on=before)] * 2)
        assert sum(isinstance(result, PolicyMoved) for result in results) == 1
        assert in_force().version == before + 1

    def test_many_changes_at_once_are_versions_in_a_row(self, committed_desk: Desk) -> None:
        desk, before = committed_desk, in_force().version
        results = at_once(desk, *[lambda: desk.save(SMALL)] * 6)
        versions = sorted(result.version for result in results)
        assert versions == list(range(before + 1, before + 7))
