"""The offline provider refuses what a real one would refuse, and names the member."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.providers.offline import Offline
from gateway.providers.protocol import ProviderRefused
from gateway.specs import EndpointSpec

CHAT = EndpointSpec(
    slug="offline",
    provider="offline",
    kind="offline",
    base_url="",
    api_key=None,
    timeout_seconds=10,
    model="offline-extractive-1",
    purpose="chat",
    input_micros_per_million=0,
    output_micros_per_million=0,
    dimensions=None,
    max_tokens=None,
)
ASK = [{"role": "user", "content": "May I return a kettle?"}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
WORDS = {"type": "text", "text": "What is this?"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
RECORDING = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "f"}}
CALL = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}


def complete(request: Any) -> Any:
    return asyncio.run(Offline().complete(CHAT, request))


@pytest.mark.parametrize(
    ("flaw", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": []}, "tools"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        (
            {"tools": [TOOL, {"type": "function", "function": {"name": "a b"}}]},
            "tools[1].function.name",
        ),
        ({"tools": [{"type": "gadget"}]}, "tools[0].type"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": 3}, "n"),
        (
            {"messages": [*ASK, {"role": "user", "content": [WORDS, PICTURE]}]},
            "messages[1].content[1]",
        ),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c", "content": [PICTURE]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "user", "content": [RECORDING]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [FILE]}]}, "messages[0].content[0]"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"logit_bias": {"5": "x"}}, "logit_bias"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        (
            {"messages": [*ASK, {"role": "user", "content": [{"type": "text"}]}]},
            "messages[1].content[0].text",
        ),
        ({"messages": [*ASK, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
        (
            {"messages": [*ASK, {"role": "assistant", "tool_calls": [{**CALL, "id": 5}]}]},
            "messages[1].tool_calls[0].id",
        ),
    ],
)
def test_a_request_out_of_shape_is_refused_by_name(flaw: Any, param: str) -> None:
    with pytest.raises(ProviderRefused) as refused:
        complete({"messages": ASK, **flaw})
    assert refused.value.status == 400
    assert refused.value.details["param"] == param
    assert f"request: {param}: " in str(refused.value)


def test_a_stream_is_refused_before_its_first_chunk() -> None:
    async def first() -> Any:
        return await anext(Offline().stream(CHAT, {"messages": ASK, "n": 0}))

    with pytest.raises(ProviderRefused):
        asyncio.run(first())


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"x_vendor": {"kept": [1]}, "metadata": {"a": "b"}, "store": False},
        {"tools": [{**TOOL, "x": 1}], "tool_choice": "auto", "parallel_tool_calls": False},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look_up"}}},
        {"temperature": 0, "top_p": 1, "n": 1, "stop": None, "max_tokens": None, "seed": 5},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}},
        {"messages": [{"role": "developer", "content": "Be kind.", "name": "d"}, *ASK]},
        {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
                *ASK,
                {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "{}"},
            ]
        },
    ],
    ids=["plain", "unknown", "tools", "choice", "sampling", "format", "developer", "transcript"],
)
def test_what_openai_takes_is_taken(more: Any) -> None:
    answer = complete({"messages": ASK, **more})
    assert answer["choices"][0]["message"]["role"] == "assistant"
