"""The only place for what happens when a provider fails: tried again, passed over, or told."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from model_api import (
    ANSWER,
    API_KEY,
    ASK,
    HASTE,
    Reaction,
    Upstream,
    answers,
    endpoint,
    hangs,
    permitted,
    route,
)

from gateway import completions
from gateway.attempts import Patience
from gateway.completions import Completion
from gateway.providers.openai import client
from gateway.providers.protocol import (
    ProviderCut,
    ProviderFailure,
    ProviderKeyRefused,
    ProviderMalformed,
    ProviderModelUnknown,
    ProviderOversized,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from gateway.specs import RouteSpec
from tenants.outgoing import AddressRefused

LIMITED = answers({"error": {"message": "slow down"}}, 429)
BROKEN = answers({"error": {"message": "oops"}}, 500)


async def ask(spec: RouteSpec, patience: Patience = HASTE) -> Completion:
    return await completions.complete(spec, ASK, **permitted(ASK), patience=patience)


@pytest.mark.parametrize("fault", [LIMITED, BROKEN, answers({}, 503), answers({}, 529)])
async def test_a_failure_that_passes_is_tried_again(upstream: Upstream, fault: Reaction) -> None:
    upstream.will(fault, fault, answers())
    completion = await ask(route(endpoint(upstream)))
    assert completion.response == ANSWER
    assert len(completion.attempts) == upstream.calls == 3


@pytest.mark.parametrize(
    ("fault", "problem"), [(LIMITED, ProviderRateLimited), (BROKEN, ProviderUnavailable)]
)
async def test_a_failure_that_stays_is_told_after_three_attempts(
    upstream: Upstream, fault: Reaction, problem: type[ProviderFailure]
) -> None:
    upstream.will(fault)
    with pytest.raises(problem) as told:
        await ask(route(endpoint(upstream)))
    assert upstream.calls == 3
    assert told.value.details["attempts"] == [f"main: {problem.code}"] * 3


async def test_a_provider_that_hangs_is_given_up_in_time(upstream: Upstream) -> None:
    upstream.will(hangs)
    began = time.monotonic()
    with pytest.raises(ProviderTimeout):
        await ask(route(endpoint(upstream, timeout_seconds=0.2)), Patience(attempts=1))
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"id": "x", "choices": [', "not JSON"),
        (b"<html>", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"hello"', "not a JSON object"),
        (b"{}", "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": {"0": 1}}', "no choices"),
        (b'{"choices": [1]}', "no message"),
        (b'{"choices": [{"text": "x"}]}', "no message"),
        (b'{"choices": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
async def test_an_answer_that_is_no_completion_is_malformed_and_not_asked_for_again(
    upstream: Upstream, body: bytes, reason: str
) -> None:
    upstream.will(answers(body))
    with pytest.raises(ProviderMalformed, match=reason):
        await ask(route(endpoint(upstream)))
    assert upstream.calls == 1


async def test_a_huge_answer_is_not_read_to_its_end(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "COMPLETION_BYTES", 10_000)
    upstream.will(answers(b"x" * 5_000_000))
    with pytest.raises(ProviderOversized):
        await ask(route(endpoint(upstream)))


async def test_a_compressed_answer_is_not_unpacked(upstream: Upstream) -> None:
    upstream.will(answers(b"\x1f\x8b", content_encoding="gzip"))
    with pytest.raises(ProviderMalformed, match="answer_packed"):
        await ask(route(endpoint(upstream)))


async def test_a_connection_that_breaks_within_the_answer_is_a_cut(upstream: Upstream) -> None:
    async def breaks(request: Any) -> Any:
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices": ')
        request.transport.close()
        return response

    upstream.will(breaks)
    with pytest.raises(ProviderCut):
        await ask(route(endpoint(upstream)))


async def test_nobody_listening_is_unavailable(loopback_allowed: None) -> None:
    with pytest.raises(ProviderUnavailable, match="no connection"):
        await ask(route(endpoint()))
    from gateway import connections

    await connections.close()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_told_without_a_trace_of_it(
    upstream: Upstream, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.will(answers({"error": {"message": f"Incorrect API key: {API_KEY}"}}, status))
    with pytest.raises(ProviderKeyRefused) as told:
        await ask(route(endpoint(upstream)))
    assert upstream.calls == 1
    assert API_KEY not in f"{told.value} {told.value!r} {told.value.details} {caplog.text}"


async def test_what_a_provider_says_of_a_bad_request_is_passed_on_without_the_key(
    upstream: Upstream,
) -> None:
    upstream.will(answers({"error": {"message": f"bad temperature; {API_KEY}\n"}}, 400))
    with pytest.raises(ProviderRefused) as told:
        await ask(route(endpoint(upstream)))
    assert "bad temperature; [key]" in str(told.value)
    assert told.value.status == 400


async def test_a_model_that_the_provider_lost_is_named(upstream: Upstream) -> None:
    upstream.will(answers({}, 404))
    with pytest.raises(ProviderModelUnknown, match="upstream-model"):
        await ask(route(endpoint(upstream)))


@pytest.mark.parametrize(
    "fault",
    [LIMITED, BROKEN, answers(b"{"), answers({}, 401), answers({}, 404), answers({})],
    ids=["429", "500", "malformed", "401", "404", "shape"],
)
async def test_the_second_endpoint_answers_for_the_first(
    upstream: Upstream, second_upstream: Upstream, fault: Reaction
) -> None:
    upstream.will(fault)
    spare = endpoint(second_upstream, slug="spare", input_micros_per_million=5_000_000)
    completion = await ask(route(endpoint(upstream), spare))
    assert completion.endpoint == "spare"
    assert completion.usage.cost_micros == 12 * 5 + 3 * 2
    assert completion.attempts[-1] == "spare: answered"


async def test_a_hanging_endpoint_is_passed_over(
    upstream: Upstream, second_upstream: Upstream
) -> None:
    upstream.will(hangs)
    spec = route(endpoint(upstream, timeout_seconds=0.2), endpoint(second_upstream, slug="spare"))
    completion = await ask(spec, Patience(attempts=1))
    assert completion.attempts == ["main: provider_timeout", "spare: answered"]


async def test_a_request_that_is_refused_is_not_shown_to_the_next_endpoint(
    upstream: Upstream, second_upstream: Upstream
) -> None:
    upstream.will(answers({"error": "no such field"}, 422))
    with pytest.raises(ProviderRefused, match="no such field"):
        await ask(route(endpoint(upstream), endpoint(second_upstream, slug="spare")))
    assert second_upstream.calls == 0


async def test_retry_after_is_waited_for(upstream: Upstream) -> None:
    upstream.will(answers({}, 429, retry_after="1"), answers())
    began = time.monotonic()
    await ask(route(endpoint(upstream)), Patience(first_wait=0.001, longest_wait=2))
    assert time.monotonic() - began >= 1


async def test_a_retry_after_beyond_our_patience_is_not_waited_for(upstream: Upstream) -> None:
    upstream.will(answers({}, 429, retry_after="3600"))
    with pytest.raises(ProviderRateLimited) as told:
        await ask(route(endpoint(upstream)))
    assert upstream.calls == 1
    assert told.value.details["retry_after"] == 3600


async def test_retry_after_may_be_a_date(upstream: Upstream) -> None:
    upstream.will(
        answers(
            {},
            503,
            retry_after="Wed, 21 Oct 2026 07:30:00 GMT",
            date="Wed, 21 Oct 2026 07:28:00 GMT",
        )
    )
    with pytest.raises(ProviderUnavailable) as told:
        await ask(route(endpoint(upstream)))
    assert told.value.details["retry_after"] == 120


async def test_a_redirect_is_not_followed(upstream: Upstream, second_upstream: Upstream) -> None:
    location = f"{second_upstream.url}/chat/completions"
    upstream.will(answers({}, 307, location=location))
    with pytest.raises(ProviderMalformed, match="redirect_refused"):
        await ask(route(endpoint(upstream)))
    assert second_upstream.calls == 0


async def test_a_private_address_is_refused_when_the_operator_allows_none(
    upstream: Upstream, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = False
    with pytest.raises(AddressRefused):
        await ask(route(endpoint(upstream)))
    assert upstream.calls == 0


async def test_no_attempt_begins_when_the_patience_is_over(upstream: Upstream) -> None:
    upstream.will(hangs)
    with pytest.raises(ProviderTimeout):
        await ask(route(endpoint(upstream, timeout_seconds=0.2)), Patience(attempts=5, total=0.2))
    assert upstream.calls == 1
