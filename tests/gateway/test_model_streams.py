"""The only place for what a streamed answer promises."""

from __future__ import annotations

from typing import Any

import pytest
from model_api import (
    API_KEY,
    ASK,
    HASTE,
    SPOKEN,
    TOLD,
    USAGE,
    Reaction,
    Upstream,
    answers,
    chunk,
    endpoint,
    hangs,
    permitted,
    route,
    streams,
)

from gateway import completions
from gateway.completions import Streaming
from gateway.providers.openai import client
from gateway.providers.protocol import (
    ProviderCut,
    ProviderFailure,
    ProviderMalformed,
    ProviderOversized,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from gateway.specs import RouteSpec
from governance.permits import PermitSpent


async def begun(spec: RouteSpec, request: dict[str, Any] = ASK) -> Streaming:
    return await completions.stream(spec, request, **permitted(request), patience=HASTE)


async def said(streaming: Streaming) -> str:
    chunks = [piece async for piece in streaming]
    return "".join(
        choice["delta"].get("content") or "" for piece in chunks for choice in piece["choices"]
    )


async def test_chunks_arrive_in_order_and_the_usage_is_known_at_the_end(upstream: Upstream) -> None:
    upstream.will(streams(*SPOKEN, *TOLD))
    streaming = await begun(route(endpoint(upstream)))
    assert await said(streaming) == "Yes."
    assert streaming.usage.cost_micros == 12 + 6
    assert not streaming.event.estimated
    assert streaming.event.streamed


async def test_usage_is_asked_for_upstream_and_kept_from_a_client_that_did_not_ask(
    upstream: Upstream,
) -> None:
    upstream.will(streams(*SPOKEN, *TOLD))
    streaming = await begun(route(endpoint(upstream)))
    chunks = [piece async for piece in streaming]
    assert upstream.bodies[0]["stream_options"] == {"include_usage": True}
    assert all(piece["choices"] and "usage" not in piece for piece in chunks)


async def test_a_client_that_asks_for_usage_gets_it(upstream: Upstream) -> None:
    upstream.will(streams(*SPOKEN, *TOLD))
    asked = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    streaming = await begun(route(endpoint(upstream)), asked)
    chunks = [piece async for piece in streaming]
    assert chunks[-1]["usage"] == USAGE


async def test_a_stream_without_usage_is_estimated_and_says_so(upstream: Upstream) -> None:
    upstream.will(streams(*SPOKEN, b"data: [DONE]\n\n"))
    streaming = await begun(route(endpoint(upstream)))
    await said(streaming)
    assert streaming.usage.estimated
    assert streaming.usage.output_tokens == 1
    assert streaming.usage.input_tokens > 0


async def test_a_stream_may_be_split_anywhere(upstream: Upstream) -> None:
    whole = b": hello\r\n\r\n" + b"".join([chunk("Größe "), *SPOKEN, *TOLD]).replace(b"\n", b"\r\n")
    upstream.will(streams(*(whole[i : i + 1] for i in range(len(whole)))))
    assert await said(await begun(route(endpoint(upstream)))) == "Größe Yes."


async def test_a_stream_that_ends_without_done_but_finished_is_whole(upstream: Upstream) -> None:
    upstream.will(streams(*SPOKEN))
    assert await said(await begun(route(endpoint(upstream)))) == "Yes."


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_cut_stream_is_told_and_not_begun_again(upstream: Upstream, breaks: bool) -> None:
    upstream.will(streams(chunk("Ye"), breaks=breaks))
    streaming = await begun(route(endpoint(upstream)))
    with pytest.raises(ProviderCut):
        await said(streaming)
    assert upstream.calls == 1
    assert streaming.usage.estimated
    assert streaming.usage.output_tokens == 1


async def test_what_fails_before_the_first_chunk_is_tried_again(upstream: Upstream) -> None:
    upstream.will(answers({}, 500), answers({}, 429), streams(*SPOKEN, *TOLD))
    streaming = await begun(route(endpoint(upstream)))
    assert await said(streaming) == "Yes."
    assert len(streaming.attempts) == 3


async def test_the_second_endpoint_streams_for_the_first(
    upstream: Upstream, second_upstream: Upstream
) -> None:
    upstream.will(streams())
    second_upstream.will(streams(*SPOKEN, *TOLD))
    spare = endpoint(second_upstream, slug="spare")
    streaming = await begun(route(endpoint(upstream), spare))
    assert await said(streaming) == "Yes."
    assert streaming.attempts == ["main: provider_cut", "spare: answered"]


@pytest.mark.parametrize(
    ("reaction", "problem"),
    [
        (answers(), ProviderMalformed),
        (streams(b"data: {\n\n"), ProviderMalformed),
        (streams(b"data: []\n\n"), ProviderMalformed),
        (streams(b'data: {"choices": 1}\n\n'), ProviderMalformed),
        (streams(b'data: {"choices": [1]}\n\n'), ProviderMalformed),
        (streams(b"data: [DONE]\n\n"), ProviderCut),
        (streams(b'data: {"error": {"message": "oops"}}\n\n'), ProviderUnavailable),
        (streams(b'data: {"error": {"type": "rate_limit_error"}}\n\n'), ProviderRateLimited),
        (hangs, ProviderTimeout),
    ],
)
async def test_a_stream_that_is_none_is_told(
    upstream: Upstream, reaction: Reaction, problem: type[ProviderFailure]
) -> None:
    upstream.will(reaction)
    seconds = 0.2 if problem is ProviderTimeout else 5
    spec = route(endpoint(upstream, timeout_seconds=seconds))
    with pytest.raises(problem) as told:
        await completions.stream(spec, ASK, **permitted(ASK), patience=HASTE)
    assert API_KEY not in str(told.value)


async def test_a_provider_that_falls_silent_within_the_stream_is_given_up(
    upstream: Upstream,
) -> None:
    async def falls_silent(request: Any) -> Any:
        response = await streams(chunk("Ye"))(request)
        await hangs(request)
        return response

    upstream.will(falls_silent)
    streaming = await begun(route(endpoint(upstream, timeout_seconds=0.5)))
    with pytest.raises(ProviderTimeout):
        await said(streaming)


@pytest.mark.parametrize("limit", ["EVENT_BYTES", "STREAM_BYTES"])
async def test_a_stream_without_end_is_not_read_to_it(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(client, limit, 5_000)
    many = b"data: " + b"x" * 100_000 if limit == "EVENT_BYTES" else chunk("x" * 100) * 500
    upstream.will(streams(chunk("Ye"), many))
    with pytest.raises(ProviderOversized):
        await said(await begun(route(endpoint(upstream))))


async def test_a_client_that_goes_away_leaves_a_true_account(upstream: Upstream) -> None:
    upstream.will(streams(*SPOKEN, *TOLD))
    streaming = await begun(route(endpoint(upstream)))
    async for _ in streaming:
        break
    await streaming.aclose()
    assert streaming.usage.estimated
    assert streaming.usage.output_tokens >= 1


async def test_a_permit_opens_one_stream(upstream: Upstream) -> None:
    upstream.will(streams(*SPOKEN, *TOLD))
    pass_once = permitted(ASK)
    spec = route(endpoint(upstream))
    await (await completions.stream(spec, ASK, **pass_once)).aclose()
    with pytest.raises(PermitSpent):
        await completions.stream(spec, ASK, **pass_once)
