from __future__ import annotations

import time
from typing import Any

import jsonschema
import pytest
from builders import Desk
from cast import Cast
from workbench import equip, error_told, outcomes, propose, publish
from world import says

from runtime import schemas, toolbox
from runtime.agents import AgentInvalid
from runtime.models import AgentVersion, RunState, Tool
from runtime.schemas import SchemaUnusable
from runtime.toolbox import Definition, ToolInvalid

CATASTROPHIC = "^(a+)+$"
EVIL = "a" * 40 + "!"
HEAVY = "((a?b?){1,30}){1,20}c"
# Steps are counted for a slow machine: 5 microseconds each. On a busy one a check may wait.
SOON = 10


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def _doubling(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{levels}": {}}}


def test_a_pattern_that_would_hang_a_worker_takes_milliseconds() -> None:
    schema = {"type": "string", "pattern": CATASTROPHIC}
    schemas.check(schema)
    began = time.monotonic()
    assert "does not match" in (schemas.mismatch(EVIL, schema) or "")
    assert time.monotonic() - began < 0.1
    assert schemas.mismatch("a" * 40, schema) is None


def _coded(desk: Desk, pattern: str) -> Definition:
    return Definition(
        slug="use_code",
        description="Use a code.",
        method="GET",
        url=f"{desk.world.address}/codes/one",
        parameters={
            "type": "object",
            "properties": {"code": {"type": "string", "pattern": pattern}},
            "required": ["code"],
            "additionalProperties": False,
        },
        effect="read",
    )


def test_a_run_whose_model_writes_such_a_text_goes_on(desk: Desk) -> None:
    equip(desk, _coded(desk, CATASTROPHIC))
    began = time.monotonic()
    run = propose(desk, ("use_code", {"code": EVIL}), then="It is no code.")
    assert time.monotonic() - began < SOON
    assert outcomes(run)[1] == ("refused", "invalid_arguments")
    assert "does not match" in error_told(desk)["message"]
    assert (run.state, run.answer["text"]) == (RunState.COMPLETED, "It is no code.")


def test_an_answer_that_such_a_pattern_checks_is_repaired(desk: Desk) -> None:
    publish(desk, answer_schema={"type": "string", "pattern": CATASTROPHIC})
    began = time.monotonic()
    run = desk.work(desk.ask("?", says(f'"{EVIL}"'), says('"aaa"')))
    assert time.monotonic() - began < SOON
    assert (run.state, run.answer["data"]) == (RunState.COMPLETED, "aaa")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?=a)b", r"\(\?="),
        (r"(?!a)b", r"\(\?!"),
        (r"(?<=a)b", r"\(\?<"),
        (r"(a)\1", r"invalid escape sequence: \\1"),
        (r"a++", "bad repetition"),
        ("([", "missing"),
        ("a{2000}", "repetition size"),
        (r"\pL{5}", "too large"),
        (r"\pL{900}", "too large"),
    ],
)
def test_a_pattern_that_can_not_run_in_linear_time_is_refused_with_its_place_and_the_reason(
    desk: Desk, pattern: str, reason: str
) -> None:
    with pytest.raises(SchemaUnusable, match=reason) as refused:
        schemas.check({"type": "object", "properties": {"a/b": {"pattern": pattern}}})
    assert "/properties/a~1b/pattern" in str(refused.value)


def test_the_author_of_a_tool_or_an_agent_is_told_so(desk: Desk) -> None:
    with pytest.raises(ToolInvalid, match=r"/properties/code/pattern.*lookaround") as refused:
        toolbox.add(_coded(desk, "(?=a)b"), by=desk.cast.dave, now=desk.now)
    assert refused.value.status == 422
    assert not Tool.objects.filter(slug="use_code").exists()
    with pytest.raises(AgentInvalid, match=r"answer schema: /items/pattern"):
        publish(desk, answer_schema={"type": "array", "items": {"pattern": r"(a)\1"}})
    assert AgentVersion.objects.count() == 1


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"patternProperties": {"^(a+)+$": {}}}, "patternProperties"),
        ({"items": {"unevaluatedProperties": False}}, "/items: unevaluatedProperties"),
        ({"unevaluatedItems": False}, "unevaluatedItems"),
        ({"dependencies": {"a": [1, []] * 10_000}}, "dependencies"),
        ({"$dynamicRef": "#a"}, "dynamicRef"),
        ({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "schema can't be used"),
        ({"items": {"$id": "https://a.example/"}}, "id can't be used"),
        ({"type": ["string", 1, []] * 500}, "7 types"),
        ({"pattern": "\ud800"}, "half of a character"),
        ({"enum": ["x" * 70_000]}, "65536 bytes"),
        ({"allOf": [{}] * 1_001}, "1000 schemas"),
        ({"examples": [{"type": 3}], "$ref": "#/examples/0"}, "leads nowhere"),
        ({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}, "leads nowhere"),
        (_doubling(40), "too much work"),
    ],
)
def test_a_schema_that_could_not_be_checked_in_bounded_work_is_refused_at_once(
    schema: dict[str, Any], reason: str
) -> None:
    began = time.monotonic()
    with pytest.raises(SchemaUnusable, match=reason):
        schemas.check(schema)
    assert time.monotonic() - began < SOON
    assert schemas.mismatch({}, {"required": ["x"], **schema}) is not None


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(20_000):
        schema = {"not": schema}
    with pytest.raises(SchemaUnusable, match="nested too deeply"):
        schemas.check(schema)
    assert "nested" in (schemas.mismatch(1, schema) or "")


TREE = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"items": {"$ref": "#/$defs/a"}}] * 2}}}
THORNY = {**TREE, "$defs": {"a": {"anyOf": [{"items": {"$ref": "#/$defs/a"}, "minItems": 1}] * 2}}}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (_nested(60), THORNY),
        ("ab" * 50_000, {"pattern": HEAVY}),
        (["ab" * 100] * 50_000, {"items": {"not": {"pattern": HEAVY}}}),
        ([[[1] * 60]] * 5_000, {"items": {"enum": [[[1] * 59 + [i]] for i in range(400)]}}),
        (["x"] * 90_000, {"not": {"items": {"enum": [str(i) for i in range(6_000)] + ["x"]}}}),
        (["x" * 100] * 10_000, {"anyOf": [{"type": "object"}] * 900}),
    ],
    ids=["recursion", "long text", "many texts", "deep enum", "long enum", "many quotes"],
)
def test_a_value_whose_check_would_take_too_long_is_refused_instead(
    value: Any, schema: dict[str, Any]
) -> None:
    schemas.check(schema)
    began = time.monotonic()
    assert schemas.mismatch(value, schema) == schemas._TOO_MUCH
    assert time.monotonic() - began < SOON
    assert schemas.mismatch([[]], {"type": "array"}) is None, "the next check has its own work"


@pytest.mark.parametrize(
    "items",
    [
        [{"a": i} for i in range(50_000)],
        [[i] if i % 2 else str(i) for i in range(50_000)],
        [i * (2**61 - 1) for i in range(50_000)],  # of one hash
        [True, 1, "1", [1], {"a": 1}, None, 0, False, 1.5],
    ],
    ids=["objects", "mixed", "one hash", "alike"],
)
def test_many_items_are_soon_known_to_be_unique(items: list[Any]) -> None:
    began = time.monotonic()
    assert schemas.mismatch(items, {"uniqueItems": True}) is None
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("items", [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], ["", ""]])
def test_items_that_are_equal_in_json_are_not_unique(items: list[Any]) -> None:
    assert "twice" in (schemas.mismatch(items, {"uniqueItems": True}) or "")
    assert schemas.mismatch(items, {"uniqueItems": False}) is None


def test_an_old_schema_is_judged_by_its_patterns_in_linear_time_too() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://acme.example/code",
        "$ref": "#/$defs/code",
        "$defs": {"code": {"pattern": CATASTROPHIC}, "again": {"$ref": "#"}},
    }
    schemas.check(schema)
    assert "does not match" in (schemas.mismatch(EVIL, schema) or "")
    circular = {"$schema": schema["$schema"], "items": {"$ref": "#"}, "pattern": CATASTROPHIC}
    began = time.monotonic()
    assert "does not match" in (schemas.mismatch([[EVIL]], circular) or "")
    assert time.monotonic() - began < SOON


def test_a_schema_that_was_kept_before_is_not_trusted_either() -> None:
    for kept in ({"pattern": "(?=a)"}, {"patternProperties": {CATASTROPHIC: {}}}):
        assert "can't be used" in (schemas.mismatch({EVIL: 1}, kept) or "")


def test_what_agents_need_of_json_schema_works_as_ever(acme: Cast, now: Any) -> None:
    parameters = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": {"$ref": "#/$defs/a~1b%20c"}, "uniqueItems": True},
            "day": {"anyOf": [{"type": "string", "pattern": r"^\d{4}-\d\d$"}, {"type": "null"}]},
            "word": {"type": "string", "pattern": r"^\p{L}+$", "maxLength": 20},
            "again": {"$ref": "#/properties/word"},
        },
        "propertyNames": {"pattern": "^[a-z]+$"},
        "$defs": {"a/b c": {"type": "integer", "minimum": 1, "enum": [1, 2, 3]}},
    }
    tool = Definition(
        slug="count",
        description="Count.",
        method="POST",
        url="https://count.example/lines",
        parameters=parameters,
        effect="write",
    )
    toolbox.add(tool, by=acme.dave, now=now)
    good = {"lines": [1, 2], "day": "2026-03", "word": "Grüße", "again": "ok"}
    assert schemas.mismatch(good, parameters) is None
    for bad in (
        {"lines": [1, 1]},
        {"lines": [4]},
        {"day": "2026-03\n"},
        {"day": "٢٠٢٦-٠٣"},
        {"word": "a b"},
        {"again": ""},
        {"Word": "a"},
    ):
        assert schemas.mismatch(bad, parameters) is not None, bad


def test_a_large_answer_is_checked_as_a_whole() -> None:
    item = {
        "type": "object",
        "properties": {"sku": {"type": "string", "pattern": "^[A-Z0-9-]+$"}, "n": {"minimum": 0}},
        "required": ["sku", "n"],
        "additionalProperties": False,
    }
    lines: list[dict[str, Any]] = [{"sku": f"A-{i}", "n": i} for i in range(5_000)]
    assert schemas.mismatch(lines, {"items": item}) is None
    lines[-1]["n"] = -1
    assert "$[4999].n" in (schemas.mismatch(lines, {"items": item}) or "")


def test_no_keyword_is_judged_that_the_bounds_do_not_know() -> None:
    """A new one in jsonschema is looked at before it is let in."""
    cheap = {
        *("$ref", "const", "dependentRequired", "enum", "exclusiveMaximum", "exclusiveMinimum"),
        *("format", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength"),
        *("minProperties", "minimum", "multipleOf", "pattern", "required", "type", "uniqueItems"),
    }
    bounded = cheap | schemas.ALONE | schemas.LISTED | schemas.NAMED | schemas.REFUSED
    assert set(jsonschema.Draft202012Validator.VALIDATORS) <= bounded
