from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from governance.intents import CallModel, Intent, SearchCollection, UseTool
from runtime import planning, validation
from runtime.planning import Finished, Refused
from runtime.queries import SEARCH_PARAMETERS
from runtime.transcripts import (
    Call,
    CorrectionTurn,
    ModelTurn,
    Offer,
    ResultTurn,
    Transcript,
    Turn,
)

REFUND = Offer(
    name="refund_order",
    description="Refund an order.",
    parameters={
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "cents": {"type": "integer"}},
        "required": ["order_id"],
    },
    action="use_tool",
    resource="refund_order",
)
HANDBOOK = Offer(
    name="search_handbook",
    description="Search.",
    parameters=SEARCH_PARAMETERS,
    action="search_collection",
    resource="handbook",
)


def _transcript(*turns: Turn) -> Transcript:
    return Transcript(
        tenant="acme",
        run="01900000-0000-7000-8000-000000000001",
        agent="refund-desk",
        version="1",
        instructions="Be kind.",
        route="answers",
        task="Refund it.",
        on_behalf_of=None,
        offers=(REFUND, HANDBOOK),
        turns=turns,
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
ARGUMENTS = (
    st.text(max_size=40)
    | JSON.map(lambda value: msgspec.json.encode(_finite(value)).decode())
    | st.fixed_dictionaries({"order_id": JSON, "cents": JSON}).map(
        lambda value: msgspec.json.encode(_finite(value)).decode()
    )
    | st.sampled_from(["[" * 3_000, "[" * 200 + "]" * 200, '{"query": "x"}', '{"order_id": "1"}'])
)
CALLS = st.builds(
    Call,
    id=st.sampled_from(["call_1", "call_2", ""]) | st.text(max_size=5),
    name=st.sampled_from(["refund_order", "search_handbook"]) | st.text(max_size=80),
    arguments=ARGUMENTS,
)
MODEL = st.builds(
    ModelTurn, content=st.text(max_size=30), calls=st.lists(CALLS, max_size=4).map(tuple)
)
RESULT = st.builds(
    ResultTurn,
    call=st.sampled_from(["call_1", "call_2", ""]),
    origin=st.sampled_from(["use_tool:refund_order", "countersign"]),
    value=st.dictionaries(
        st.sampled_from(["passages", "x"]) | st.text(max_size=5), JSON, max_size=3
    ),
)
CORRECTION = st.builds(CorrectionTurn, answer=st.text(max_size=9), problem=st.text(max_size=9))
TURNS = st.lists(MODEL | RESULT | CORRECTION, max_size=6)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _plan(turns: list[Turn]) -> Intent | Refused | Finished:
    return planning.next_intent(_transcript(*turns))


@given(TURNS)
def test_planning_never_raises_and_the_same_transcript_gives_the_same_plan(
    turns: list[Turn],
) -> None:
    first, second = _plan(turns), _plan(msgspec.convert(msgspec.to_builtins(turns), list[Turn]))
    assert type(first) is type(second)
    if isinstance(first, Intent):
        assert first.digest == second.digest  # type: ignore[union-attr]


@given(TURNS)
def test_whatever_was_said_only_offered_functions_of_this_agent_become_intents(
    turns: list[Turn],
) -> None:
    plan = _plan(turns)
    if isinstance(plan, Intent):
        assert (plan.tenant, plan.principal, plan.agent_version) == ("acme", "refund-desk", "1")
        assert (plan.action, plan.resource) in {
            ("use_tool", "refund_order"),
            ("search_collection", "handbook"),
            ("call_model", "answers"),
        }
        assert plan.step == len(turns) + 1


@given(st.text(), st.dictionaries(st.text(max_size=10), JSON, max_size=4))
def test_untrusted_text_changes_neither_offers_nor_instructions(
    text: str, value: dict[str, Any]
) -> None:
    passages = [{"ref": "P1", "document": text, "heading": text, "page": None, "text": text}]
    asked = ModelTurn(content="", calls=(Call(id="1", name="search_handbook", arguments="{}"),))
    found = ResultTurn(call="1", origin="search_collection:handbook", value={"passages": passages})
    told = ResultTurn(call="1", origin="use_tool:refund_order", value=_finite(value))
    plain = _transcript().chat_request()
    for result in (found, told):
        request = _transcript(asked, result).chat_request()
        assert request["tools"] == plain["tools"]
        assert request["messages"][:2] == plain["messages"][:2]
        assert [m["role"] for m in request["messages"][2:]] == ["assistant", "tool"]
        plan = planning.next_intent(_transcript(asked, result))
        assert isinstance(plan, CallModel)


@given(JSON)
def test_listening_to_a_model_never_raises_anything_but_unusable(value: Any) -> None:
    function = {"name": value, "arguments": value}
    for response in (
        value,
        {"choices": value},
        {"choices": [{"message": value}]},
        {"choices": [{"message": {"content": value, "tool_calls": value}}]},
        {"choices": [{"message": {"tool_calls": [{"id": value, "function": value}]}}]},
        {"choices": [{"message": {"tool_calls": [{"id": "1", "function": function}]}}]},
    ):
        try:
            turn = validation.model_turn(response)
        except validation.Unusable:
            continue
        kept = msgspec.convert(msgspec.to_builtins(turn), ModelTurn)
        assert kept == turn
        assert "\0" not in msgspec.json.encode(turn).decode()


def test_another_word_in_the_transcript_is_another_intent() -> None:
    ask = ModelTurn(content="", calls=(Call(id="1", name="nothing", arguments="{}"),))
    results = [ResultTurn(call="1", origin="countersign", value={"x": x}) for x in (1, 2)]
    digests = {_plan([ask, result]).digest for result in results}  # type: ignore[union-attr]
    assert len(digests) == 2


def test_a_call_becomes_the_intent_that_it_names() -> None:
    for name, arguments, kind in (
        ("refund_order", '{"order_id": "7", "cents": 5}', UseTool),
        ("search_handbook", '{"query": "returns"}', SearchCollection),
    ):
        turn = ModelTurn(content="", calls=(Call(id="1", name=name, arguments=arguments),))
        plan = _plan([turn])
        assert isinstance(plan, kind)
        assert msgspec.json.encode(plan.arguments) == msgspec.json.encode(
            msgspec.json.decode(arguments)
        )
