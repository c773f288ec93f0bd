"""Agents, versions, grants, tools and policies through the API."""

from __future__ import annotations

from typing import Any

from builders import SMALL_REFUNDS, Desk
from callers import Caller
from mallory import TOOL

VERSION = {
    "instructions": "Answer.",
    "route": "answers",
    "tools": ["refund_order"],
    "collections": ["handbook"],
    "limits": {"steps": 5},
}


def test_a_builder_creates_an_agent_and_publishes_versions(desk: Desk, dave: Caller) -> None:
    made = dave.post("agents", {"slug": "clerk", "name": "Clerk"})
    assert (made.status_code, made["Location"]) == (201, "/api/v1/agents/clerk")
    first = dave.post("agents/clerk/versions", VERSION)
    second = dave.post("agents/clerk/versions", {**VERSION, "instructions": "Answer shortly."})
    assert [first.json()["number"], second.json()["number"]] == [1, 2]
    assert second["Location"] == "/api/v1/agents/clerk/versions/2"
    shown = dave.get("agents/clerk/versions").json()["results"]
    assert [version["number"] for version in shown] == [2, 1]
    assert dave.get("agents/clerk/versions/1").json() == first.json()
    assert dave.get("agents/clerk").json()["author"] == desk.cast.dave.id
    assert dave.get("agents/clerk/versions/3").json()["code"] == "agent_version_unknown"


def test_an_agent_that_is_there_already_is_not_made_again(desk: Desk, dave: Caller) -> None:
    again = dave.post("agents", {"slug": "refund-desk", "name": "Mine"})
    assert (again.status_code, again.json()["code"]) == (409, "agent_taken")


def test_a_version_must_name_what_exists(desk: Desk, dave: Caller) -> None:
    answer = dave.post("agents/refund-desk/versions", {**VERSION, "tools": ["nothing"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "agent_invalid")
    answer = dave.post("agents/refund-desk/versions", {**VERSION, "limits": {"stepz": 1}})
    assert (answer.status_code, answer.json()["code"]) == (422, "limits_invalid")


def test_granting_a_collection_grants_its_embedding_route(desk: Desk, alice: Caller) -> None:
    alice.post("agents", {"slug": "clerk", "name": "Clerk"})
    given = alice.post("agents/clerk/grants", {"kind": "collection", "slug": "handbook"})
    both = [{"kind": "collection", "slug": "handbook"}, {"kind": "route", "slug": "embed"}]
    assert (given.status_code, given.json()["grants"]) == (201, both)
    assert alice.get("agents/clerk/grants").json()["grants"] == both
    assert alice.delete("agents/clerk/grants/collection/handbook").status_code == 204
    assert alice.get("agents/clerk/grants").json()["grants"] == both[1:]
    again = alice.delete("agents/clerk/grants/collection/handbook")
    assert (again.status_code, again.json()["code"]) == (404, "not_granted")


def test_only_an_admin_grants(desk: Desk, dave: Caller) -> None:
    wanted = {"kind": "tool", "slug": "refund_order"}
    answers = [
        dave.post("agents/refund-desk/grants", wanted),
        dave.delete("agents/refund-desk/grants/tool/refund_order"),
    ]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "not_permitted")] * 2


def test_what_can_not_be_granted_is_named(desk: Desk, alice: Caller) -> None:
    answer = alice.post("agents/refund-desk/grants", {"kind": "tool", "slug": "nothing"})
    assert (answer.status_code, answer.json()["code"]) == (404, "resource_unknown")
    answer = alice.post("agents/refund-desk/grants", {"kind": "secret", "slug": "nothing"})
    assert answer.json()["errors"][0]["pointer"] == "/kind"


def test_a_tool_is_added_changed_and_removed_and_its_headers_are_never_shown(
    desk: Desk, dave: Caller
) -> None:
    secret = {"Authorization": "Bearer hush"}
    made = dave.post("tools", {"slug": "pay", **TOOL, "headers": secret})
    assert (made.status_code, made.json()["has_headers"]) == (201, True)
    assert "hush" not in dave.get("tools/pay").content.decode()
    changed = dave.put("tools/pay", {**TOOL, "effect": "irreversible"})
    assert (changed.json()["effect"], changed.json()["has_headers"]) == ("irreversible", False)
    assert dave.delete("tools/pay").status_code == 204
    assert dave.get("tools/pay").status_code == 404


def test_a_tool_may_not_lead_into_the_machine(desk: Desk, dave: Caller, settings: Any) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = False
    answer = dave.post("tools", {"slug": "pay", **TOOL, "url": "http://127.0.0.1/"})
    assert (answer.status_code, answer.json()["code"]) == (422, "address_refused")


def test_an_admin_checks_a_draft_puts_it_into_force_and_asks_again(
    desk: Desk, alice: Caller
) -> None:
    question = {
        "action": "use_tool",
        "resource": "refund_order",
        "agent": "refund-desk",
        "arguments": {"order_id": "1", "amount_cents": 100},
    }
    text = alice.get("policies/active").json()["text"] + SMALL_REFUNDS
    assert alice.post("policies/check", question).json()["outcome"] == "held"
    assert alice.post("policies/check", {**question, "text": text}).json()["outcome"] == "allowed"
    saved = alice.post("policies", {"text": text})
    assert saved.status_code == 201
    verdict = alice.post("policies/check", question).json()
    assert (verdict["outcome"], verdict["policy_version"]) == ("allowed", saved.json()["version"])
    versions = alice.get("policies").json()["results"]
    assert [v["active"] for v in versions] == [True] + [False] * (len(versions) - 1)
    assert alice.get(f"policies/{saved.json()['version']}").json()["text"] == text
    assert "refund_order" in alice.get("policies/active").json()["schema"]


def test_a_text_written_on_a_version_that_is_in_force_no_more_is_refused(
    desk: Desk, alice: Caller
) -> None:
    before = alice.get("policies/active").json()
    new = {"text": before["text"] + SMALL_REFUNDS, "based_on": before["version"]}
    assert alice.post("policies", new).status_code == 201
    late = alice.post("policies", {"text": before["text"], "based_on": before["version"]})
    assert (late.status_code, late.json()["code"]) == (409, "policy_moved")
    assert alice.get("policies/active").json()["text"] == new["text"]


def test_a_policy_that_does_not_fit_says_where(desk: Desk, alice: Caller) -> None:
    text = '@id("x") permit (principal, action, resource)\nwhen { context.nothing > 1 };'
    answer = alice.post("policies", {"text": text})
    assert (answer.status_code, answer.json()["code"]) == (422, "policy_invalid")
    assert answer.json()["errors"][0]["line"] == 2


def test_an_agent_without_a_grant_would_be_denied(desk: Desk, alice: Caller) -> None:
    alice.delete("agents/refund-desk/grants/tool/refund_order")
    question = {"action": "use_tool", "resource": "refund_order", "agent": "refund-desk"}
    verdict = alice.post("policies/check", question).json()
    assert (verdict["outcome"], verdict["code"]) == ("denied", "not_granted")


def test_models_are_configured_through_the_api(desk: Desk, alice: Caller) -> None:
    provider = {"slug": "vllm", "kind": "openai", "base_url": "https://models.test/v1"}
    made = alice.post("providers", {**provider, "api_key": "sk-a-long-secret-key-1234"})
    assert (made.status_code, made.json()["api_key_ending"]) == (201, "1234")
    assert "sk-a" not in made.content.decode()
    assert alice.patch("providers/vllm", {"timeout_seconds": 5}).json()["timeout_seconds"] == 5
    endpoint = {"slug": "big", "provider": "vllm", "model": "big-1", "purpose": "chat"}
    assert alice.post("endpoints", endpoint).status_code == 201
    price = {"input_micros_per_million": 3, "output_micros_per_million": 9, "max_tokens": 100}
    assert alice.put("endpoints/big", price).json()["max_tokens"] == 100
    route = {"slug": "best", "purpose": "chat", "endpoints": ["big", "scripted-chat"]}
    assert alice.post("routes", route).json()["endpoints"] == ["big", "scripted-chat"]
    assert alice.put("routes/best", {"endpoints": ["big"]}).json()["endpoints"] == ["big"]
    in_use = [alice.delete("providers/vllm"), alice.delete("endpoints/big")]
    assert [a.json()["code"] for a in in_use] == ["provider_in_use", "endpoint_in_use"]
    for path in ("routes/best", "endpoints/big", "providers/vllm"):
        assert alice.delete(path).status_code == 204
    assert "vllm" not in str(alice.get("providers").json())


def test_a_check_warns_of_what_the_policies_name_and_is_not_there(
    desk: Desk, alice: Caller
) -> None:
    question = {"action": "use_tool", "resource": "refund_order", "agent": "refund-desk"}
    text = alice.get("policies/active").json()["text"]
    assert alice.post("policies/check", question).json()["warnings"] == []
    typo = '@id("typo") forbid (principal == Agent::"nobody", action, resource == Tool::"gone");'
    (agent, tool) = alice.post("policies/check", {**question, "text": text + typo}).json()[
        "warnings"
    ]
    assert (agent["policy"], agent["line"]) == ("typo", len(text.splitlines()) + 1)
    assert 'Agent::"nobody"' in agent["message"]
    assert 'Tool::"gone"' in tool["message"]
    key = alice.post("keys", {"name": "Robo"}).json()["id"]
    member = desk.cast.dave.id
    known = f'@id("m") permit (principal == Member::"{member}", action, resource);'
    known += f'@id("k") permit (principal == ClientApp::"{key}", action, resource);'
    checked = alice.post("policies/check", {**question, "text": text + known})
    assert checked.json()["warnings"] == []
    assert alice.post("policies", {"text": text + typo}).status_code == 201
    assert len(alice.post("policies/check", question).json()["warnings"]) == 2
