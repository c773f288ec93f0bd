"""The only place that says what a provider is: what it is asked, what it answers, how it fails.

A provider is a folder `gateway/providers/<kind>/` whose `__init__` exports exactly one name in
`__all__`: its class, which takes no arguments and keeps no state of a tenant or of an event loop
(one instance serves all tenants, loops and threads of a process). To add one, copy a folder.

A provider MUST answer in the shapes of the OpenAI API, MUST raise nothing but the problems below
for what goes wrong at its side, and MUST NOT put a key, a header or a prompt in an error or a log.
It does not retry, does not price and does not look at permits: `completions` and `embeddings` do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from audit.errors import Problem
from gateway.specs import EndpointSpec

Json = dict[str, Any]


class Vectors(msgspec.Struct, frozen=True, kw_only=True):
    """What an embedding model answered: one vector a text, in the order of the texts.

    `tokens` is None where the provider does not say. `version` names the exact model that
    answered, so that vectors of two versions are never compared.
    """

    vectors: list[list[float]]
    tokens: int | None
    version: str


class Provider(Protocol):
    """Speaks one model API in the words of the OpenAI API."""

    async def complete(self, endpoint: EndpointSpec, request: Json) -> Json:
        """Answer a chat request with a `chat.completion` object.

        `request` is the body of POST /chat/completions as the client sent it, unknown fields
        included; its `model` is to be ignored in favour of `endpoint.model`. The answer holds
        at least one choice with a `message`, and `usage` where the provider knows it.
        """
        ...

    def stream(self, endpoint: EndpointSpec, request: Json) -> AsyncGenerator[Json]:
        """Answer with `chat.completion.chunk` objects; write it as an async generator.

        The last chunk holds `usage` (and may have empty `choices`) where the provider knows it.
        A problem before the first chunk may be tried again by the caller; one after it not.
        """
        ...

    async def embed(self, endpoint: EndpointSpec, texts: Sequence[str]) -> Vectors:
        """Turn each text into a vector of `endpoint.dimensions` (None: the model's own)."""
        ...


class ProviderFailure(Problem):
    """The endpoint {endpoint} did not answer."""

    code = "provider_failure"
    status = 502
    retried: ClassVar[bool] = False
    falls_back: ClassVar[bool] = True

    @property
    def retry_after(self) -> int | None:
        """Whole seconds that the provider asks to wait before the next try, if it says."""
        seconds = self.details.get("retry_after")
        return seconds if isinstance(seconds, int) else None


class ProviderUnavailable(ProviderFailure):
    """The provider of endpoint {endpoint} cannot be reached or failed: {reason}."""

    code = "provider_unavailable"
    retried = True


class ProviderTimeout(ProviderFailure):
    """The provider of endpoint {endpoint} did not answer within {seconds} seconds."""

    code = "provider_timeout"
    status = 504
    retried = True


class ProviderRateLimited(ProviderFailure):
    """The provider of endpoint {endpoint} asks for fewer requests."""

    code = "provider_rate_limited"
    status = 429  # which clients know: they wait, and try again
    retried = True


class ProviderMalformed(ProviderFailure):
    """The provider of endpoint {endpoint} answered something else than asked: {reason}."""

    code = "provider_malformed"


class ProviderOversized(ProviderFailure):
    """The provider of endpoint {endpoint} answered more than {limit} bytes."""

    code = "provider_oversized"


class ProviderCut(ProviderFailure):
    """The provider of endpoint {endpoint} broke off in the middle of its answer."""

    code = "provider_cut"


class ProviderKeyRefused(ProviderFailure):
    """The provider of endpoint {endpoint} does not accept the API key that is stored for it."""

    code = "provider_key_refused"


class ProviderModelUnknown(ProviderFailure):
    """The provider of endpoint {endpoint} does not know the model {model}."""

    code = "provider_model_unknown"


class ProviderRefused(ProviderFailure):
    """The provider of endpoint {endpoint} refused the request: {reason}"""

    code = "provider_refused"
    status = 400
    falls_back = False
