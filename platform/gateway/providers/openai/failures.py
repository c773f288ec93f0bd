"""The only place that turns what goes wrong in HTTP into a provider's typed problems.

MUST NOT let a key into a message: `from None` also keeps aiohttp's errors, which hold the
request's headers, out of tracebacks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import aiohttp
import orjson

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
from gateway.specs import EndpointSpec
from tenants import outgoing

LONGEST_REASON = 300
ERROR_BYTES = 64 * 1024

# The first that fits wins, so a class comes before those that it is a kind of.
REASONS: tuple[tuple[type[aiohttp.ClientError], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "its name does not resolve"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
    (aiohttp.ClientConnectorSSLError, "it does not speak TLS as expected"),
    (aiohttp.ClientConnectorError, "no connection to it can be made"),
    (aiohttp.InvalidURL, "its address is not valid"),
    (aiohttp.ClientError, "the connection broke"),
)


@contextlib.contextmanager
def translated(endpoint: EndpointSpec) -> Iterator[None]:
    """Raise the typed problem for whatever the exchange in the block runs into."""
    try:
        yield
    except TimeoutError:
        raise ProviderTimeout(endpoint=endpoint.slug, seconds=endpoint.timeout_seconds) from None
    except aiohttp.ClientPayloadError:
        raise ProviderCut(endpoint=endpoint.slug) from None
    except aiohttp.ClientResponseError:
        raise ProviderMalformed(endpoint=endpoint.slug, reason="it is not HTTP") from None
    except aiohttp.ClientError as error:
        reason = next(reason for kind, reason in REASONS if isinstance(error, kind))
        raise ProviderUnavailable(endpoint=endpoint.slug, reason=reason) from None
    except outgoing.AnswerTooLarge as problem:
        limit = problem.details["limit"]
        raise ProviderOversized(endpoint=endpoint.slug, limit=limit) from None
    except (outgoing.AnswerPacked, outgoing.RedirectRefused) as problem:
        raise ProviderMalformed(endpoint=endpoint.slug, reason=problem.code) from None


async def check(response: aiohttp.ClientResponse, endpoint: EndpointSpec) -> None:
    """Raise the typed problem for an answer whose status is not a success."""
    if 200 <= response.status < 300:
        return
    if response.status in {429, 503} or response.status >= 500:
        raise _passing(response, endpoint)
    if response.status in {401, 403}:
        raise ProviderKeyRefused(endpoint=endpoint.slug)
    if response.status == 404:
        raise ProviderModelUnknown(endpoint=endpoint.slug, model=endpoint.model)
    if response.status == 408:
        raise ProviderTimeout(endpoint=endpoint.slug, seconds=endpoint.timeout_seconds)
    reason = await _reason(response, endpoint)
    raise ProviderRefused(endpoint=endpoint.slug, reason=reason)


def raise_reported(error: object, endpoint: EndpointSpec) -> NoReturn:
    """Raise for an error that is told within a stream, where there is no status any more."""
    kind = error.get("type") or error.get("code") if isinstance(error, dict) else None
    if kind in {"rate_limit_exceeded", "rate_limit_error"}:
        raise ProviderRateLimited(endpoint=endpoint.slug, retry_after=None)
    raise ProviderUnavailable(endpoint=endpoint.slug, reason="it reported an error in its stream")


def malformed(endpoint: EndpointSpec, reason: str) -> ProviderMalformed:
    """Return the problem of an answer that is something else than asked."""
    return ProviderMalformed(endpoint=endpoint.slug, reason=reason)


def parsed(body: bytes | str, endpoint: EndpointSpec) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises ProviderMalformed."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise malformed(endpoint, "it is not JSON") from None
    if not isinstance(value, dict):
        raise malformed(endpoint, "it is not a JSON object")
    return value


def _passing(response: aiohttp.ClientResponse, endpoint: EndpointSpec) -> ProviderFailure:
    retry_after = _retry_after(response)
    if response.status == 429:
        return ProviderRateLimited(endpoint=endpoint.slug, retry_after=retry_after)
    reason = f"it answered with status {response.status}"
    return ProviderUnavailable(endpoint=endpoint.slug, reason=reason, retry_after=retry_after)


def _retry_after(response: aiohttp.ClientResponse) -> int | None:
    """Return Retry-After (RFC 9110, 10.2.3) in seconds; a date counts from the answer's Date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        until = parsedate_to_datetime(value)
        answered_at = parsedate_to_datetime(response.headers.get("Date", ""))
        return max(0, round((until - answered_at).total_seconds()))
    except (TypeError, ValueError):
        return None


async def _reason(response: aiohttp.ClientResponse, endpoint: EndpointSpec) -> str:
    """Return the provider's own words about a request that it refused, without the key."""
    unsaid = f"status {response.status}"
    try:
        body = parsed(await outgoing.read_bounded(response, ERROR_BYTES), endpoint)
    except (ProviderMalformed, outgoing.AnswerTooLarge, outgoing.AnswerPacked):
        return unsaid
    error = body.get("error")
    words = error.get("message") if isinstance(error, dict) else error
    if not isinstance(words, str) or not words.strip():
        return unsaid
    if endpoint.api_key is not None:
        words = words.replace(endpoint.api_key.reveal(), "[key]")
    return "".join(c for c in words if c.isprintable())[:LONGEST_REASON]
