"""The only place where texts become vectors: the door to embedding models."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial

import msgspec

from gateway import admission, prices, providers, requests
from gateway.attempts import PATIENCE, Patience, first_answer
from gateway.events import ModelCalled
from gateway.prices import Usage
from gateway.providers.protocol import ProviderMalformed, Vectors
from gateway.requests import MOST_TEXTS, ModelRequestInvalid, Prompt
from gateway.specs import EndpointSpec, RouteSpec
from governance.intents import Intent
from governance.permits import Permit


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """One vector a text, in the order of the texts, and exactly which model made them."""

    vectors: list[list[float]]
    model: str
    version: str
    dimensions: int
    usage: Usage
    route: str
    endpoint: str
    provider_kind: str
    latency_ms: int
    attempts: list[str]
    prompt: Prompt

    @property
    def event(self) -> ModelCalled:
        """The entry to record for this call."""
        return ModelCalled(
            route=self.route,
            endpoint=self.endpoint,
            provider_kind=self.provider_kind,
            model=self.model,
            streamed=False,
            input_tokens=self.usage.input_tokens,
            output_tokens=0,
            cost_micros=self.usage.cost_micros,
            estimated=self.usage.estimated,
            latency_ms=self.latency_ms,
            attempts=self.attempts,
            **self.prompt,
        )


async def embed(
    route: RouteSpec,
    texts: Sequence[str],
    *,
    permit: Permit,
    intent: Intent,
    patience: Patience = PATIENCE,
    seconds: float | None = None,
) -> Embedded:
    """Turn 1 to 2,048 texts into vectors by the route's endpoints.

    `seconds` bounds all its tries together. The permit (for `arguments=requests.arguments(texts)`)
    is spent whatever happens. Raises PermitSpent, PermitMismatch, ModelIntentMismatch,
    RouteUnsuitable, ModelRequestInvalid, OutOfTime, and the last endpoint's ProviderFailure.
    """
    admission.admit(route, "embeddings", texts, permit=permit, intent=intent)
    if not 1 <= len(texts) <= MOST_TEXTS or not all(isinstance(t, str) and t for t in texts):
        raise ModelRequestInvalid(reason=f"the input must be 1 to {MOST_TEXTS} texts, none empty")
    began = time.monotonic()
    answered = await first_answer(
        route.endpoints, partial(_embedded, texts), patience, seconds=seconds
    )
    endpoint, answer = answered.endpoint, answered.answer
    reported = None if answer.tokens is None else {"prompt_tokens": answer.tokens}

    def guess() -> tuple[int, int]:
        return sum(map(requests.estimated_tokens, texts)), 0

    return Embedded(
        vectors=answer.vectors,
        model=endpoint.model,
        version=answer.version,
        dimensions=len(answer.vectors[0]),
        usage=prices.usage(endpoint, reported, guess=guess),
        route=route.slug,
        endpoint=endpoint.slug,
        provider_kind=endpoint.kind,
        latency_ms=round((time.monotonic() - began) * 1_000),
        attempts=answered.attempts,
        prompt=requests.prompt_of(texts, intent.agent_version),
    )


async def _embedded(texts: Sequence[str], endpoint: EndpointSpec) -> Vectors:
    answer = await providers.of(endpoint.kind).embed(endpoint, texts)
    problem = _what_is_wrong(answer.vectors, len(texts), endpoint.dimensions)
    if problem:
        raise ProviderMalformed(endpoint=endpoint.slug, reason=problem)
    return answer


def _what_is_wrong(vectors: list[list[float]], texts: int, dimensions: int | None) -> str | None:
    if len(vectors) != texts:
        return f"{len(vectors)} vectors for {texts} texts"
    expected = dimensions or len(vectors[0])
    if not expected or any(len(vector) != expected for vector in vectors):
        return f"a vector does not have {expected} dimensions"
    if not all(math.isfinite(sum(vector)) for vector in vectors):
        return "a vector is not finite"
    return None
