"""The only place for how the offline provider speaks OpenAI's API, and that it never breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offline_desks import REFUND, called, found, user
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.providers.offline import Offline
from gateway.providers.offline.provider import reply
from gateway.providers.protocol import Provider, ProviderModelUnknown, ProviderRefused
from gateway.specs import EndpointSpec

QUESTION = "How long is the warranty on zips?"
ANSWERING = {
    "messages": [
        user(QUESTION),
        *called(
            1, "search_handbook", {"query": QUESTION}, found("Zips have a warranty of 3 years.")
        ),
    ]
}
CALLING = {"messages": [user("Refund order 1042, 35.00 EUR.")], "tools": [REFUND]}
LIMITED = {**ANSWERING, "max_tokens": 3}


def endpoint(model: str = "offline-extractive-1", dimensions: int | None = None) -> EndpointSpec:
    """An endpoint of the offline provider."""
    return EndpointSpec(
        slug="offline",
        provider="offline",
        kind="offline",
        base_url="",
        api_key=None,
        timeout_seconds=10,
        model=model,
        purpose="chat",
        dimensions=dimensions,
    )


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """A completion put together from chunks, as a client does it."""
    content, calls, finish = None, [], None
    for delta in [choice for chunk in chunks for choice in chunk["choices"]]:
        finish = delta["finish_reason"] or finish
        part = delta["delta"]
        if part.get("content") is not None:
            content = (content or "") + part["content"]
        for call in part.get("tool_calls", ()):
            if "id" in call:
                calls.append({**call, "function": {**call["function"]}})
            else:
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return {"content": content, "calls": calls, "finish": finish, "usage": chunks[-1]["usage"]}


@pytest.mark.parametrize("request_", [ANSWERING, CALLING, LIMITED], ids=["words", "call", "limit"])
async def test_a_stream_says_the_same_as_a_completion(request_: dict[str, Any]) -> None:
    whole = await Offline().complete(endpoint(), request_)
    chunks = [chunk async for chunk in Offline().stream(endpoint(), request_)]
    choice = whole["choices"][0]
    same = joined(chunks)
    calls = [{"index": 0, **call} for call in choice["message"].get("tool_calls", ())]
    assert same == {
        "content": choice["message"]["content"],
        "calls": calls,
        "finish": choice["finish_reason"],
        "usage": whole["usage"],
    }
    assert {chunk["id"] for chunk in chunks} == {whole["id"]}
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


@pytest.mark.parametrize("request_", [ANSWERING, CALLING], ids=["words", "call"])
async def test_clients_of_openai_can_read_it(request_: dict[str, Any]) -> None:
    completion = ChatCompletion.model_validate(await Offline().complete(endpoint(), request_))
    async for chunk in Offline().stream(endpoint(), request_):
        ChatCompletionChunk.model_validate(chunk)
    assert completion.system_fingerprint == "offline"
    assert completion.usage is not None
    assert completion.usage.total_tokens > completion.usage.completion_tokens > 0


async def test_the_same_request_gives_the_same_bytes() -> None:
    answers = [await Offline().complete(endpoint(), CALLING) for _ in range(3)]
    assert len({json.dumps(answer) for answer in answers}) == 1


def test_equal_calls_at_different_places_have_different_ids() -> None:
    from gateway.providers.offline import wire

    first = wire.completion(wire.Reply(None, ("t", "{}"), 1, 1), "m")
    later = wire.completion(wire.Reply(None, ("t", "{}"), 1, 5), "m")
    ids = [one["choices"][0]["message"]["tool_calls"][0]["id"] for one in (first, later)]
    assert ids[0] != ids[1]


async def test_a_token_limit_cuts_the_answer_and_says_so() -> None:
    answer = await Offline().complete(endpoint(), LIMITED)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] <= 3


async def test_another_model_is_unknown() -> None:
    with pytest.raises(ProviderModelUnknown):
        await Offline().complete(endpoint("gpt-5"), ANSWERING)
    with pytest.raises(ProviderModelUnknown):
        await Offline().embed(endpoint("offline-extractive-1"), ["text"])


async def test_a_request_of_millions_of_characters_is_refused() -> None:
    with pytest.raises(ProviderRefused):
        await Offline().complete(endpoint(), {"messages": [user("a" * 2_000_001)]})


def test_it_is_a_provider() -> None:
    provider: Provider = Offline()
    assert provider


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
SAID = st.sampled_from(
    [
        "Refund order 1042, 35.00 EUR",
        "What is the warranty?",
        "Close ticket T-1 {} € 1,2.3 \ud800",
        '"a "b" `c``` > d',
        "٣ EUR 2026-13-45 25:99pm #",
        "",
    ]
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "x"])},
    optional={
        "content": SAID | JSON | st.text(max_size=40),
        "tool_calls": JSON
        | st.lists(
            st.fixed_dictionaries(
                {"id": JSON, "function": st.fixed_dictionaries({"name": JSON, "arguments": JSON})}
            ),
            max_size=2,
        ),
        "tool_call_id": JSON,
    },
)
SCHEMA = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", "array", "object", "boolean"])
            | JSON,
            "enum": JSON | st.lists(JSON, max_size=3),
            "format": JSON | st.just("date"),
            "default": JSON,
            "const": JSON,
            "$ref": st.sampled_from(["#", "#/properties/a", "nowhere"]) | JSON,
            "minimum": JSON,
            "maxLength": JSON,
            "description": JSON,
            "required": JSON | st.lists(st.sampled_from(["a", "amount", "date"])),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.just("object"),
            "properties": st.dictionaries(
                st.sampled_from(["a", "amount", "date", "order_id", "query", "é[(*"]), inner
            ),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "required": st.lists(st.sampled_from(["a", "amount", "date", "order_id"])),
        },
    ),
    max_leaves=6,
)
TOOL = st.fixed_dictionaries(
    {
        "function": st.fixed_dictionaries(
            {"name": st.sampled_from(["refund_order", "search", "close[ticket", "", "é"])},
            optional={"description": JSON | st.just("Close a ticket"), "parameters": SCHEMA | JSON},
        )
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    messages=JSON | st.lists(MESSAGE | JSON, max_size=6),
    tools=JSON | st.lists(TOOL | JSON, max_size=3),
    choice=st.sampled_from([None, "auto", "none", "required"]) | JSON,
    shape=st.none()
    | JSON
    | st.fixed_dictionaries(
        {
            "type": st.sampled_from(["json_schema", "json_object", "text"]),
            "json_schema": JSON | st.fixed_dictionaries({"schema": SCHEMA}),
        }
    ),
)
def test_no_request_breaks_it(messages: Any, tools: Any, choice: Any, shape: Any) -> None:
    said = reply(
        {"messages": messages, "tools": tools, "tool_choice": choice, "response_format": shape}
    )
    text = said.content if said.call is None else "".join(said.call)
    assert text is not None
    assert text.encode()


def test_a_deeply_nested_result_is_only_text() -> None:
    deep = "[" * 100_000
    messages = [user(QUESTION), *called(1, "look_up", {}, deep)]
    assert reply({"messages": messages, "tools": [REFUND]}).content is not None
