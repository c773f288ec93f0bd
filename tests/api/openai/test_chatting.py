"""OpenAI's own client, unchanged, asks models; the ledger tells each call."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import mock_model
import openai
import orjson
import pytest

from audit.commitments import commit

ASK: Any = [{"role": "user", "content": "May I return a kettle?"}]
BEFORE = ["intent.decided", "effect.begun"]
AFTER = ["model.called", "effect.ended"]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "look_up_order", "parameters": {"type": "object", "properties": {}}},
    }
]


def test_a_plain_call_is_answered_and_has_four_entries_in_order(office: Any) -> None:
    raw = office.client().chat.completions.with_raw_response.create(model="fast", messages=ASK)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Yes."
    assert answer.usage.total_tokens == 15
    entries = office.entries(raw.headers["x-request-id"])
    assert [kind for kind, _ in entries] == BEFORE + AFTER
    decided, begun, called, ended = (event for _, event in entries)
    assert decided["outcome"] == "allowed"
    assert decided["intent"] == begun["intent"] == ended["intent"]
    assert (called["input_tokens"], called["output_tokens"], called["cost_micros"]) == (12, 3, 18)
    outcome = orjson.dumps(mock_model.completion(), option=orjson.OPT_SORT_KEYS)
    kept = office.private(raw.headers["x-request-id"], "effect.ended")["outcome"]
    assert kept["value"] == hashlib.sha256(outcome).hexdigest()
    assert ended["outcome"] == commit(kept["value"], bytes.fromhex(kept["salt"]))


def test_the_entries_name_the_client_app_and_hold_no_prompt(office: Any) -> None:
    raw = office.client().chat.completions.with_raw_response.create(model="fast", messages=ASK)
    from audit.models import Entry

    entries = Entry.objects.filter(correlation=raw.headers["x-request-id"])
    assert {(entry.actor_kind, entry.actor_id) for entry in entries} == {
        ("client_app", office.key.public_id)
    }
    assert not any(b"kettle" in bytes(entry.payload) for entry in entries)


def test_the_model_gets_the_request_as_it_was_sent(office: Any) -> None:
    office.client().chat.completions.create(
        model="fast",
        messages=ASK,
        temperature=0.25,
        extra_body={"x_vendor": {"depth": [1.5, None]}},
    )
    (sent,) = office.upstream.bodies
    assert sent == {
        "model": "upstream-model",
        "messages": ASK,
        "temperature": 0.25,
        "x_vendor": {"depth": [1.5, None]},
    }


def test_what_only_this_vendor_answers_reaches_the_client(office: Any) -> None:
    answer = office.client().chat.completions.create(model="fast", messages=ASK)
    assert answer.model_extra == {"x_vendor": {"kept": 0.5}}


def test_tools_pass_through_in_both_directions(office: Any) -> None:
    call = mock_model.completion(content=None, tool_calls=[mock_model.TOOL_CALL])
    office.upstream.will(mock_model.answers(call))
    answer = office.client().chat.completions.create(model="fast", messages=ASK, tools=TOOLS)
    assert office.upstream.bodies[0]["tools"] == TOOLS
    (proposed,) = answer.choices[0].message.tool_calls or []
    assert proposed.model_dump() == mock_model.TOOL_CALL


def test_a_stream_comes_in_pieces_and_is_settled(office: Any) -> None:
    office.upstream.will(mock_model.streams(*mock_model.SPOKEN, *mock_model.TOLD))
    with office.client().chat.completions.with_streaming_response.create(
        model="fast", messages=ASK, stream=True
    ) as raw:
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert texts == ["Ye", "s.", None]
    assert not any("usage" in chunk for chunk in chunks)
    entries = office.entries(raw.headers["x-request-id"])
    assert [kind for kind, _ in entries] == BEFORE + AFTER
    called, ended = entries[2][1], entries[3][1]
    assert called["streamed"]
    assert (called["input_tokens"], called["output_tokens"]) == (12, 3)
    data = "".join(line.removeprefix("data: ") + "\n" for line in lines[:-1])
    kept = office.private(raw.headers["x-request-id"], "effect.ended")["outcome"]
    assert kept["value"] == hashlib.sha256(data.encode()).hexdigest()
    assert ended["outcome"] == commit(kept["value"], bytes.fromhex(kept["salt"]))


def test_the_client_iterates_a_stream_with_its_usage(office: Any) -> None:
    office.upstream.will(mock_model.streams(*mock_model.SPOKEN, *mock_model.TOLD))
    stream = office.client().chat.completions.create(
        model="fast", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "Yes."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 15


def test_a_member_asks_with_their_token(office: Any) -> None:
    from datetime import UTC, datetime

    from tenants.keys import issuing

    _, secret = issuing.issue_member_token(office.cast.bob, now=datetime.now(UTC))
    raw = office.client(secret).chat.completions.with_raw_response.create(
        model="fast", messages=ASK
    )
    from audit.models import Entry

    entry = Entry.objects.filter(correlation=raw.headers["x-request-id"]).first()
    assert entry is not None
    assert (entry.actor_kind, entry.actor_id) == ("member", office.cast.bob.id)


def test_models_are_listed_and_shown(office: Any) -> None:
    client = office.client()
    assert [model.id for model in client.models.list()] == ["fast", "vectors"]
    assert client.models.retrieve("fast").owned_by == "acme"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("slow")


async def test_the_asynchronous_client_works_as_well(office: Any) -> None:
    base_url = f"{office.web.address}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key=office.secret) as client:
        answer = await client.chat.completions.create(model="fast", messages=ASK)
    assert answer.choices[0].message.content == "Yes."
