"""Agents, their versions and grants, and tools."""

from __future__ import annotations

import json
from typing import Any

from acme_house import House

from governance import grants
from runtime import toolbox
from runtime.models import Agent, AgentVersion, Tool

VERSION = {
    "instructions": "Be brief.",
    "route": "answers",
    "tools": ["look_up_order"],
    "collections": ["handbook"],
    "steps": "7",
}
TOOL = {
    "slug": "send_voucher",
    "description": "Send a voucher.",
    "method": "POST",
    "url": "https://shop.example/vouchers",
    "parameters": json.dumps({"type": "object", "properties": {"cents": {"type": "integer"}}}),
    "effect": "write",
    "timeout_seconds": "5",
    "headers": "Authorization: Bearer of-the-shop",
}


def test_a_builder_creates_an_agent_and_publishes_its_first_version(house: House) -> None:
    made = house.dave.post("/agents/create", {"slug": "helper", "name": "Helper"})
    assert made["Location"] == "/agents/helper/publish"
    assert "It has no version yet" in house.dave.words("/agents/helper/")
    house.dave.post("/agents/helper/publish", VERSION)
    version = AgentVersion.objects.get(agent__slug="helper")
    assert (version.number, version.tools, version.limits) == (1, ["look_up_order"], {"steps": 7})
    page = house.dave.words("/agents/helper/")
    assert "was not granted" in page
    assert "Be brief." in house.dave.words("/agents/helper/versions/1")


def test_an_agent_that_exists_or_has_a_bad_name_is_refused_beside_the_form(house: House) -> None:
    for slug in ("refund-desk", "Not A Slug"):
        answer = house.dave.post("/agents/create", {"slug": slug, "name": "X"})
        assert answer.status_code == 422
    assert Agent.objects.count() == 1


def test_the_form_of_a_version_is_filled_with_the_newest(house: House) -> None:
    page = house.dave.words("/agents/refund-desk/publish")
    assert "Answer from the handbook." in page
    assert page.count(" checked") == 3


def test_a_version_with_nonsense_is_refused_with_words(house: House) -> None:
    wrong = {**VERSION, "answer_schema": '{"type": 7}'}
    answer = house.dave.post("/agents/refund-desk/publish", wrong)
    assert answer.status_code == 422
    assert "JSON Schema" in answer.content.decode()
    answer = house.dave.post("/agents/refund-desk/publish", {**VERSION, "answer_schema": "{"})
    assert answer.status_code == 422
    assert AgentVersion.objects.count() == 1


def test_an_admin_revokes_and_grants(house: House) -> None:
    resource = {"resource": "tool:refund_order"}
    house.alice.post("/agents/refund-desk/grants", {**resource, "verb": "revoke"})
    tool = ("tool", str(Tool.objects.get(slug="refund_order").pk))
    assert tool not in grants.of("refund-desk")
    house.alice.post("/agents/refund-desk/grants", {**resource, "verb": "grant"})
    assert tool in grants.of("refund-desk")


def test_a_builder_sees_grants_and_can_not_give_them(house: House) -> None:
    page = house.dave.words("/agents/refund-desk/")
    assert "Only an admin grants" in page
    assert 'value="revoke"' not in page
    answer = house.dave.post(
        "/agents/refund-desk/grants", {"resource": "tool:refund_order", "verb": "revoke"}
    )
    assert answer.status_code == 403
    assert len(grants.of("refund-desk")) == 5


def test_granting_what_does_not_exist_says_so(house: House) -> None:
    answer = house.alice.post("/agents/refund-desk/grants", {"resource": "tool:nothing"})
    assert answer.status_code == 404
    assert "There is no tool nothing" in answer.content.decode()


def _headers(slug: str) -> dict[str, str]:
    return toolbox.spec_of(Tool.objects.get(slug=slug)).headers


def test_a_tool_is_added_and_its_headers_are_never_shown(house: House) -> None:
    answer = house.dave.post("/tools/add", TOOL)
    assert answer["Location"] == "/tools/send_voucher/"
    assert _headers("send_voucher") == {"Authorization": "Bearer of-the-shop"}
    for page in ("/tools", "/tools/send_voucher/", "/tools/send_voucher/change"):
        assert "of-the-shop" not in house.dave.words(page)


def test_stored_headers_are_kept_for_the_same_address_alone(house: House) -> None:
    house.dave.post("/tools/add", TOOL)
    changed: dict[str, Any] = {**TOOL, "headers": "", "keeps_headers": "on", "description": "New."}
    house.dave.post("/tools/send_voucher/change", changed)
    assert Tool.objects.get(slug="send_voucher").description == "New."
    assert _headers("send_voucher") == {"Authorization": "Bearer of-the-shop"}
    moved = {**changed, "url": "https://elsewhere.example/"}
    answer = house.dave.post("/tools/send_voucher/change", moved)
    assert answer.status_code == 422
    assert "Give the headers again" in answer.content.decode()
    assert Tool.objects.get(slug="send_voucher").url == TOOL["url"]
    house.dave.post("/tools/send_voucher/change", {**changed, "keeps_headers": ""})
    assert _headers("send_voucher") == {}


def test_a_tool_that_does_not_fit_is_refused_beside_the_form(house: House) -> None:
    number = json.dumps({"type": "object", "properties": {"x": {"type": "number"}}})
    for wrong in ({"parameters": number}, {"headers": "no colon"}, {"url": "ftp://x"}):
        answer = house.dave.post("/tools/add", {**TOOL, **wrong})
        assert answer.status_code == 422, wrong
    assert "shop.example" not in house.dave.words("/tools")


def test_a_tool_is_found_by_a_word(house: House) -> None:
    page = house.dave.words("/tools", {"q": "refund"})
    assert "refund_order" in page
    assert "look_up_order" not in page
    assert "No tool fits" in house.dave.words("/tools", {"q": "zebra"})


def test_a_tool_is_removed_after_being_asked_once(house: House) -> None:
    assert "Remove look_up_order?" in house.dave.words("/tools/look_up_order/remove")
    assert Tool.objects.filter(slug="look_up_order").exists()
    house.dave.post("/tools/look_up_order/remove")
    assert not Tool.objects.filter(slug="look_up_order").exists()
