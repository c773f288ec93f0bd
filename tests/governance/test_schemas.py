"""Tools' JSON Schemas as Cedar types, and arguments as context."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance import policies, schemas
from governance.policies import Entity, Request

OPEN = '@id("all") permit(principal, action, resource);'


def types_of(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    tool = {"type": "object", "properties": properties, "required": required or []}
    return schemas.argument_types(policies.schema_for({"t": tool}))["t"]


def outcome_of(
    tool: dict[str, Any], arguments: dict[str, Any], text: str = OPEN, *, slug: str = "t"
) -> str:
    compiled = policies.compile(text, policies.schema_for({slug: tool}))
    context = {"arguments": {slug: schemas.fit(arguments, compiled.arguments[slug])}}
    request = Request(
        principal=Entity(type="ClientApp", id="robo", attributes={}),
        resource=Entity(type="Tool", id=slug, attributes={"effect": "read", "tags": []}),
        context=context,
    )
    return policies.evaluate(compiled, request).outcome


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "format": "date"}, {"type": "String"}),
        ({"type": "integer"}, {"type": "Long"}),
        ({"type": "boolean"}, {"type": "Bool"}),
        (
            {"type": "array", "items": {"type": "integer"}},
            {"type": "Set", "element": {"type": "Long"}},
        ),
    ],
)
def test_each_json_type_has_its_cedar_type(
    schema: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert types_of({"p": schema}, ["p"])["attributes"] == {"p": expected}
    assert types_of({"p": schema})["attributes"] == {"p": {**expected, "required": False}}


def test_an_object_becomes_a_record() -> None:
    address = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    attributes = types_of({"to": address}, ["to"])["attributes"]
    assert attributes["to"] == {"type": "Record", "attributes": {"city": {"type": "String"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number"},
        {"type": ["string", "null"]},
        {"type": "null"},
        {"enum": [1, "a"]},
        {"anyOf": [{"type": "string"}]},
        {"$ref": "#/$defs/x"},
        {"type": "object"},
        {"type": "array"},
        {"type": "array", "items": {"type": "number"}},
        {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "number"}}}},
        True,
    ],
    ids=str,
)
def test_what_has_no_cedar_type_is_left_out_and_does_not_deny(schema: Any) -> None:
    tool = {
        "type": "object",
        "properties": {"p": schema, "q": {"type": "integer"}},
        "required": ["p"],
    }
    assert set(types_of({"p": schema, "q": {"type": "integer"}})["attributes"]) == {"q"}
    assert outcome_of(tool, {"p": [1.5, None], "q": 1}) == "allowed"


def test_left_out_inside_an_object_too() -> None:
    place = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "lat": {"type": "number"}},
    }
    tool = {"type": "object", "properties": {"place": place}}
    assert outcome_of(tool, {"place": {"name": "x", "lat": 1.5}}) == "allowed"


def test_a_null_counts_as_absent() -> None:
    tool = {"type": "object", "properties": {"p": {"type": "integer"}}}
    text = OPEN + '@id("n") forbid(principal, action, resource) when { context.arguments has t.p };'
    assert outcome_of(tool, {"p": None}, text) == "allowed"
    assert outcome_of(tool, {"p": 1}, text) == "denied"


def test_what_the_tool_does_not_declare_denies() -> None:
    assert outcome_of({"type": "object", "properties": {}}, {"p": 1}) == "denied"


@pytest.mark.parametrize("name", ["__entity", "__extn", "__expr", "__cedar"])
def test_cedars_own_escapes_are_never_attributes(name: str) -> None:
    tool = {"type": "object", "properties": {name: {"type": "string"}}}
    assert types_of(tool["properties"])["attributes"] == {}
    assert outcome_of(tool, {name: "x"}) == "allowed"


def test_a_schema_without_a_bottom_is_cut_off() -> None:
    endless: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        endless = {"type": "object", "properties": {"deeper": endless}}
    assert policies.schema_for({"t": endless})
    assert policies.compile(OPEN, policies.schema_for({"t": endless}))


@given(
    slug=st.text(min_size=1),
    name=st.text(min_size=1).filter(lambda name: not name.startswith("__")),
)
def test_any_name_can_be_a_tools_or_a_propertys(slug: str, name: str) -> None:
    tool = {"type": "object", "properties": {name: {"type": "integer"}}, "required": [name]}
    assert outcome_of(tool, {name: 1}, slug=slug) == "allowed"
    assert outcome_of(tool, {name: "1"}, slug=slug) == "denied"


def test_a_name_that_is_no_identifier_is_reachable_in_quotes() -> None:
    tool = {"type": "object", "properties": {'we"ird name': {"type": "integer"}}}
    text = OPEN + (
        '@id("big") forbid(principal, action, resource) when { context.arguments has "a-b"'
        ' && context.arguments["a-b"] has "we\\"ird name"'
        ' && context.arguments["a-b"]["we\\"ird name"] > 5 };'
    )
    assert outcome_of(tool, {'we"ird name': 5}, text, slug="a-b") == "allowed"
    assert outcome_of(tool, {'we"ird name': 6}, text, slug="a-b") == "denied"


def test_the_order_of_tools_does_not_change_the_schema() -> None:
    one = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}
    other = {"properties": {"b": {"type": "integer"}, "a": {"type": "string"}}, "type": "object"}
    assert policies.schema_for({"x": one, "y": other}) == policies.schema_for(
        {"y": one, "x": other}
    )
