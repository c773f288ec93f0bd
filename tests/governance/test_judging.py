"""The verdict on an intent: pure, and the same for decisions and for the data plane."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance import policies, verdicts
from governance.intents import CallModel, SearchCollection, UseTool
from governance.policies import CompiledPolicies, Verdict
from governance.resources import Resource
from governance.verdicts import Authors
from tenants.principals import Principal

TOOLS: dict[str, Any] = {
    "refund": {
        "type": "object",
        "properties": {"amount": {"type": "integer"}, "rate": {"type": "number"}},
    }
}
ALL = '@id("all") permit(principal, action, resource);'
WROTE = Authors(agent="dave", version="dave")
ROBO = Principal(kind="client_app", id="robo", name="Robo", tenant="acme")


def compiled(text: str = policies.DEFAULT_POLICY) -> CompiledPolicies:
    return policies.compile(text, policies.schema_for(TOOLS), version=7)


def refund(**changes: Any) -> UseTool:
    values: dict[str, Any] = {
        "tenant": "acme",
        "principal_kind": "agent",
        "principal": "desk",
        "agent_version": "3",
        "resource": "refund",
        "arguments": {"amount": 1},
    }
    return UseTool(**(values | changes))


def tool(effect: str = "write", slug: str = "refund") -> Resource:
    return Resource(kind="Tool", slug=slug, pk="1", attributes={"effect": effect})


def judge(
    intent: Any, resource: Resource, *, text: str = policies.DEFAULT_POLICY, grant: str | None = "1"
) -> Verdict:
    return put(compiled(text), intent, resource, grant=grant)


def put(
    policies_: CompiledPolicies | None, intent: Any, resource: Resource, **known: Any
) -> Verdict:
    values: dict[str, Any] = {"asker": ROBO, "authors": WROTE, "grant": "1"}
    return verdicts.judge(policies_, intent, resource, **(values | known))


def test_a_granted_write_is_held_under_the_version_that_judged_it() -> None:
    verdict = judge(refund(), tool())
    assert (verdict.outcome, verdict.policy_version) == ("held", 7)
    assert verdict.policy_sha256 == compiled().sha256


def test_without_a_grant_an_agent_is_denied_whatever_the_policies_say() -> None:
    assert judge(refund(), tool("read"), text=ALL, grant=None).code == "not_granted"


def test_a_client_app_needs_no_grant_but_a_policy() -> None:
    asked = CallModel(
        tenant="acme", principal_kind="client_app", principal="robo", resource="r", arguments={}
    )
    route = Resource(kind="Route", slug="r", pk="1", attributes={})
    assert judge(asked, route, grant=None).outcome == "allowed"
    assert judge(asked, route, text="", grant=None).outcome == "denied"


def test_without_policies_everything_is_denied() -> None:
    assert put(None, refund(), tool()).code == "no_policy"


@pytest.mark.parametrize(
    "resource",
    [tool(slug="other"), Resource(kind="Route", slug="refund", pk="1", attributes={})],
    ids=["slug", "kind"],
)
def test_another_resource_than_the_named_one_is_denied(resource: Resource) -> None:
    assert judge(refund(), resource, text=ALL).code == "resource_mismatch"


@pytest.mark.parametrize("version", [None, "", "three", "-1", "3.0"])
def test_an_agent_without_a_proper_version_is_denied(version: str | None) -> None:
    assert judge(refund(agent_version=version), tool(), text=ALL).code == "principal_unclear"


def test_policies_see_an_agents_owner_and_nothing_of_who_asks_for_its_run() -> None:
    owned = (
        '@id("o") permit(principal is Agent, action, resource) when { principal.owner == "dave" };'
    )
    alice = Principal(
        kind="member", id="alice", name="Alice", tenant="acme", roles=frozenset({"admin"})
    )
    for authors, outcome in ((WROTE, "allowed"), (Authors(agent="eve", version="dave"), "denied")):
        verdict = put(compiled(owned), refund(), tool(), asker=alice, authors=authors)
        assert verdict.outcome == outcome
    assert put(compiled(ALL), refund(), tool(), authors=None).code == "principal_unclear"


def test_where_nobody_can_wait_what_would_be_held_is_denied() -> None:
    held = judge(refund(), tool())
    at_once = verdicts.at_once(held)
    assert (at_once.outcome, at_once.code) == ("denied", "approval_needed")
    assert at_once.reasons == held.reasons
    allowed = judge(refund(), tool("read"))
    assert verdicts.at_once(allowed) == allowed


def test_a_principal_of_no_known_kind_is_denied() -> None:
    assert judge(refund(principal_kind="root"), tool(), text=ALL).code == "principal_unclear"


def test_a_tool_that_the_schema_does_not_know_is_denied() -> None:
    assert judge(refund(resource="burn"), tool(slug="burn"), text=ALL).code == "policy_error"


def test_policies_see_the_members_roles_and_on_whose_behalf() -> None:
    text = (
        '@id("r") permit(principal is Member, action, resource)'
        ' when { principal.roles.contains("reviewer") };'
        '@id("b") forbid(principal, action, resource)'
        ' when { context has on_behalf_of && context.on_behalf_of == "mallory" };'
    )
    asked = SearchCollection(
        tenant="acme",
        principal_kind="member",
        principal="bob",
        resource="c",
        arguments={"query": "q"},
    )
    collection = Resource(
        kind="Collection", slug="c", pk="1", attributes={"classification": "secret"}
    )
    for roles, allowed in (({"reviewer"}, "allowed"), ({"auditor"}, "denied")):
        bob = Principal(kind="member", id="bob", name="Bob", tenant="acme", roles=frozenset(roles))
        verdict = put(compiled(text), asked, collection, asker=bob, authors=None, grant=None)
        assert verdict.outcome == allowed


def test_what_policies_cannot_type_does_not_deny() -> None:
    assert judge(refund(arguments={"amount": 1, "rate": 0.5}), tool("read")).outcome == "allowed"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(arguments=st.dictionaries(st.sampled_from(["amount", "rate", "x", "__entity"]), ANYTHING))
def test_no_arguments_make_it_raise(arguments: dict[str, Any]) -> None:
    verdict = judge(refund(arguments=arguments), tool("read"), text=ALL)
    assert verdict.outcome == "allowed" or verdict.code == "policy_error"


def test_every_code_has_a_sentence() -> None:
    for verdict in (judge(refund(), tool()), judge(refund(), tool(), grant=None)):
        assert verdicts.explain(verdict) != "It was denied."
