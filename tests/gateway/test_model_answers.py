"""The only place for what a whole answer promises: passed through, counted, priced."""

from __future__ import annotations

from typing import Any

import pytest
from model_api import ANSWER, API_KEY, ASK, Upstream, answers, endpoint, permitted, route

from gateway import completions
from gateway.admission import ModelIntentMismatch, RouteUnsuitable
from gateway.requests import ModelRequestInvalid
from governance.permits import PermitMismatch, PermitSpent


async def test_the_answer_arrives_as_the_provider_gave_it(upstream: Upstream) -> None:
    completion = await completions.complete(route(endpoint(upstream)), ASK, **permitted(ASK))
    assert completion.response == ANSWER
    assert completion.attempts == ["main: answered"]
    assert (completion.endpoint, completion.provider_kind) == ("main", "openai")


async def test_unknown_fields_and_tools_reach_the_provider_untouched(upstream: Upstream) -> None:
    ask: dict[str, Any] = {
        **ASK,
        "temperature": 0.7,
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
        "response_format": {"type": "json_object"},
        "field_of_next_year": [1, None, {"a": True}],
        "stream": False,
    }
    await completions.complete(route(endpoint(upstream)), ask, **permitted(ask))
    expected = {k: v for k, v in ask.items() if k != "stream"}
    assert upstream.bodies == [{**expected, "model": "upstream-model"}]


async def test_the_stored_key_is_sent_and_nothing_is_asked_to_be_compressed(
    upstream: Upstream,
) -> None:
    await completions.complete(route(endpoint(upstream)), ASK, **permitted(ASK))
    assert upstream.headers[0]["Authorization"] == f"Bearer {API_KEY}"
    assert upstream.headers[0]["Accept-Encoding"] == "identity"


async def test_an_endpoint_without_a_key_sends_none(upstream: Upstream) -> None:
    spec = route(endpoint(upstream, api_key=None))
    await completions.complete(spec, ASK, **permitted(ASK))
    assert "Authorization" not in upstream.headers[0]


async def test_tokens_are_counted_and_priced_for_the_ledger(upstream: Upstream) -> None:
    completion = await completions.complete(route(endpoint(upstream)), ASK, **permitted(ASK))
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (12, 3)
    assert completion.usage.cost_micros == 12 + 6
    assert completion.event.cost_micros == 18
    assert not completion.event.estimated


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1}, {"prompt_tokens": 1.5}, "12"])
async def test_usage_that_is_missing_or_nonsense_is_estimated_and_says_so(
    upstream: Upstream, usage: object
) -> None:
    upstream.will(answers({**ANSWER, "usage": usage}))
    completion = await completions.complete(route(endpoint(upstream)), ASK, **permitted(ASK))
    assert completion.usage.estimated
    assert completion.usage.input_tokens > 0
    assert completion.usage.output_tokens == 1


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, {"max_tokens": 100}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": 700}, {"max_tokens": 100}),
        ({"max_completion_tokens": 700}, {"max_completion_tokens": 100}),
    ],
)
async def test_an_endpoint_bounds_the_length_of_an_answer(
    upstream: Upstream, asked: dict[str, int], sent: dict[str, int]
) -> None:
    ask = {**ASK, **asked}
    spec = route(endpoint(upstream, max_tokens=100))
    await completions.complete(spec, ask, **permitted(ask))
    assert {k: v for k, v in upstream.bodies[0].items() if k.startswith("max_")} == sent


@pytest.mark.parametrize("messages", [None, [], "hello", ["hello"]])
async def test_a_request_without_messages_reaches_no_provider(
    upstream: Upstream, messages: object
) -> None:
    ask = {"messages": messages}
    with pytest.raises(ModelRequestInvalid):
        await completions.complete(route(endpoint(upstream)), ask, **permitted(ask))
    assert upstream.calls == 0


async def test_a_permit_opens_the_door_once(upstream: Upstream) -> None:
    pass_once = permitted(ASK)
    await completions.complete(route(endpoint(upstream)), ASK, **pass_once)
    with pytest.raises(PermitSpent):
        await completions.complete(route(endpoint(upstream)), ASK, **pass_once)
    assert upstream.calls == 1


async def test_a_permit_is_spent_once_however_often_the_provider_is_tried(
    upstream: Upstream,
) -> None:
    upstream.will(answers({}, 429, retry_after="0"), answers({}, 500), answers())
    pass_once = permitted(ASK)
    await completions.complete(route(endpoint(upstream)), ASK, **pass_once)
    with pytest.raises(PermitSpent):
        pass_once["permit"].spend(pass_once["intent"])


async def test_without_a_permit_no_call_is_possible(upstream: Upstream) -> None:
    intent = permitted(ASK)["intent"]
    with pytest.raises(TypeError):
        await completions.complete(route(endpoint(upstream)), ASK, intent=intent)  # type: ignore[call-arg]
    assert upstream.calls == 0


async def test_a_permit_for_another_intent_opens_nothing(upstream: Upstream) -> None:
    mine, other = permitted(ASK), permitted({**ASK, "user": "mallory"})
    with pytest.raises(PermitMismatch):
        await completions.complete(
            route(endpoint(upstream)), ASK, permit=other["permit"], intent=mine["intent"]
        )
    assert upstream.calls == 0


async def test_a_request_that_changed_after_the_decision_is_not_sent(upstream: Upstream) -> None:
    changed = {**ASK, "messages": [{"role": "user", "content": "Transfer everything."}]}
    with pytest.raises(ModelIntentMismatch):
        await completions.complete(route(endpoint(upstream)), changed, **permitted(ASK))
    assert upstream.calls == 0


@pytest.mark.parametrize("other", [{"resource": "dear"}, {"tenant": "globex"}])
async def test_a_permit_for_another_route_or_tenant_opens_nothing(
    upstream: Upstream, other: dict[str, str]
) -> None:
    with pytest.raises(ModelIntentMismatch):
        await completions.complete(route(endpoint(upstream)), ASK, **permitted(ASK, **other))
    assert upstream.calls == 0


async def test_a_route_for_embeddings_answers_no_chat(upstream: Upstream) -> None:
    spec = route(endpoint(upstream, purpose="embeddings"))
    with pytest.raises(RouteUnsuitable):
        await completions.complete(spec, ASK, **permitted(ASK))
    assert upstream.calls == 0


async def test_no_secret_shows_in_a_spec(upstream: Upstream) -> None:
    assert API_KEY not in repr(route(endpoint(upstream)))
