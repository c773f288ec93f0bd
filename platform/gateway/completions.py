"""The only place where a chat model is called: the door, its answer whole or as a stream.

A caller builds the intent first, `CallModel(resource=route.slug, …)` whose arguments hold
`requests.arguments(request)`, has it decided, and comes with the permit and the same request.
MUST NOT touch the database: the caller records `ModelCalled` (see `event`) when it ended.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from gateway import admission, prices, providers, requests
from gateway.attempts import PATIENCE, Answered, Patience, first_answer
from gateway.events import ModelCalled
from gateway.prices import Usage
from gateway.providers.protocol import Json, ProviderCut, ProviderMalformed
from gateway.requests import Prompt
from gateway.specs import EndpointSpec, RouteSpec
from governance.intents import Intent
from governance.permits import Permit

LONGEST_NAME = 200


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `response` is an OpenAI `chat.completion` as the provider gave it."""

    response: Json
    usage: Usage
    route: str
    endpoint: str
    provider_kind: str
    model: str
    latency_ms: int
    attempts: list[str]
    parameters_sha256: str
    prompt: Prompt

    @property
    def answer(self) -> Json:
        """What names the answer: all of it."""
        return self.response

    @property
    def event(self) -> ModelCalled:
        """The entry to record for this call."""
        return called(self, streamed=False)


async def complete(
    route: RouteSpec,
    request: Mapping[str, Any],
    *,
    permit: Permit,
    intent: Intent,
    patience: Patience = PATIENCE,
    seconds: float | None = None,
) -> Completion:
    """Ask the route's endpoints for one whole answer to an OpenAI chat request.

    `seconds` bounds all its tries together. The permit is spent whatever happens. Raises
    PermitSpent, PermitMismatch, ModelIntentMismatch, RouteUnsuitable, ModelRequestInvalid,
    OutOfTime, and the last endpoint's ProviderFailure.
    """
    admission.admit(route, "chat", request, permit=permit, intent=intent)
    requests.check_chat(request)
    began = time.monotonic()
    answered = await first_answer(
        route.endpoints, partial(_completed, request), patience, seconds=seconds
    )
    endpoint, response = answered.endpoint, answered.answer
    return Completion(
        response=response,
        usage=_usage(endpoint, request, response.get("usage"), _texts(response, "message")),
        route=route.slug,
        endpoint=endpoint.slug,
        provider_kind=endpoint.kind,
        model=endpoint.model,
        latency_ms=_milliseconds_since(began),
        attempts=answered.attempts,
        parameters_sha256=requests.parameters_sha256(request),
        prompt=requests.prompt_of(request, intent.agent_version),
    )


async def stream(
    route: RouteSpec,
    request: Mapping[str, Any],
    *,
    permit: Permit,
    intent: Intent,
    patience: Patience = PATIENCE,
) -> Streaming:
    """Ask the route's endpoints for a stream, and return it when its first chunk is there.

    Until then it fails and falls back like `complete`; afterwards nothing is tried again.
    """
    admission.admit(route, "chat", request, permit=permit, intent=intent)
    requests.check_chat(request)
    began = time.monotonic()
    answered = await first_answer(route.endpoints, partial(_begun, request), patience)
    prompt = requests.prompt_of(request, intent.agent_version)
    return Streaming(route, request, answered, prompt, began)


class Streaming:
    """An answer on its way: iterate once over its OpenAI `chat.completion.chunk` objects.

    `usage` is true of what came so far, at any time: after a break (ProviderCut and the like are
    raised by the iteration) or after `aclose`, which MUST be called when the client goes away.
    """

    def __init__(
        self,
        route: RouteSpec,
        request: Mapping[str, Any],
        answered: Answered[_Begun],
        prompt: Prompt,
        began: float,
    ) -> None:
        self.route = route.slug
        self.endpoint = answered.endpoint.slug
        self.provider_kind = answered.endpoint.kind
        self.model = answered.endpoint.model
        self.attempts = answered.attempts
        self.parameters_sha256 = requests.parameters_sha256(request)
        self.prompt = prompt
        self._spec = answered.endpoint
        self._request = request
        self._first, self._rest = answered.answer
        self._shows_usage = requests.wants_usage(request)
        self._reported: object = None
        self._output: list[str] = []
        self._began = began
        self._ended = began

    def __aiter__(self) -> AsyncIterator[Json]:
        return self._forward()

    @property
    def usage(self) -> Usage:
        """What was used so far; estimated until the provider has told it."""
        return _usage(self._spec, self._request, self._reported, self._output)

    @property
    def answer(self) -> Json:
        """What names the answer: its first chunk."""
        return self._first

    @property
    def latency_ms(self) -> int:
        """How long the stream has been coming, from the call to its latest chunk."""
        return round((self._ended - self._began) * 1_000)

    @property
    def event(self) -> ModelCalled:
        """The entry to record when the stream is over, however it ended."""
        return called(self, streamed=True)

    async def aclose(self) -> None:
        """Give up the rest of the answer and its connection."""
        await self._rest.aclose()

    async def _forward(self) -> AsyncGenerator[Json]:
        try:
            for chunk in self._shown(self._first):
                yield chunk
            async for later in self._rest:
                for chunk in self._shown(later):
                    yield chunk
        finally:
            await self._rest.aclose()

    def _shown(self, chunk: Json) -> Iterable[Json]:
        """Note what a chunk tells; drop the usage that only we asked for."""
        self._ended = time.monotonic()
        self._output += _texts(chunk, "delta")
        if chunk.get("usage") is not None:
            self._reported = chunk["usage"]
        if self._shows_usage or "usage" not in chunk:
            return (chunk,)
        if not chunk.get("choices"):
            return ()
        return ({key: value for key, value in chunk.items() if key != "usage"},)


class _Begun(NamedTuple):
    first: Json
    rest: AsyncGenerator[Json]


def called(answer: Completion | Streaming, *, streamed: bool) -> ModelCalled:
    """Return the entry for an answer."""
    return ModelCalled(
        route=answer.route,
        endpoint=answer.endpoint,
        provider_kind=answer.provider_kind,
        model=answer.model,
        streamed=streamed,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        cost_micros=answer.usage.cost_micros,
        estimated=answer.usage.estimated,
        latency_ms=answer.latency_ms,
        attempts=answer.attempts,
        answered_model=_name(answer.answer.get("model")),
        response_id=_name(answer.answer.get("id")),
        parameters_sha256=answer.parameters_sha256,
        **answer.prompt,
    )


def _name(told: object) -> str | None:
    """What a provider calls something, if it is a name: nothing else of its words is recorded."""
    is_name = isinstance(told, str) and told.isprintable() and 0 < len(told) <= LONGEST_NAME
    return str(told) if is_name else None


async def _completed(request: Mapping[str, Any], endpoint: EndpointSpec) -> Json:
    upstream = requests.for_complete(request, endpoint.max_tokens)
    response = await providers.of(endpoint.kind).complete(endpoint, upstream)
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ProviderMalformed(endpoint=endpoint.slug, reason="it has no choices")
    if not all(isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices):
        raise ProviderMalformed(endpoint=endpoint.slug, reason="a choice has no message")
    return response


async def _begun(request: Mapping[str, Any], endpoint: EndpointSpec) -> _Begun:
    upstream = requests.for_stream(request, endpoint.max_tokens)
    chunks = providers.of(endpoint.kind).stream(endpoint, upstream)
    try:
        return _Begun(await anext(chunks), chunks)
    except StopAsyncIteration:
        raise ProviderCut(endpoint=endpoint.slug) from None


def _usage(
    endpoint: EndpointSpec, request: Mapping[str, Any], reported: object, output: list[str]
) -> Usage:
    def guess() -> tuple[int, int]:
        prompt = [request.get("messages"), request.get("tools")]
        return requests.estimated_tokens(prompt), requests.estimated_tokens("".join(output))

    return prices.usage(endpoint, reported, guess=guess)


def _texts(answer: Json, part: str) -> list[str]:
    """Return the texts that a model wrote in an answer's messages or a chunk's deltas."""
    texts: list[str] = []
    for choice in answer.get("choices") or ():
        written = choice.get(part) if isinstance(choice, dict) else None
        if not isinstance(written, dict):
            continue
        texts += [t for t in (written.get("content"), written.get("refusal")) if isinstance(t, str)]
        for call in written.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            texts += [arguments] if isinstance(arguments, str) else []
    return texts


def _milliseconds_since(began: float) -> int:
    return round((time.monotonic() - began) * 1_000)
