"""The only place that speaks the OpenAI protocol over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager

import aiohttp
import orjson

from gateway import connections
from gateway.providers.openai import failures
from gateway.providers.openai.event_stream import EventStream, EventTooLong
from gateway.providers.protocol import Json, ProviderCut, ProviderOversized, Vectors
from gateway.specs import EndpointSpec
from tenants import outgoing

DEFAULT_BASE_URL = "https://api.openai.com/v1"
COMPLETION_BYTES = 8 * 1024 * 1024
VECTORS_BYTES = 32 * 1024 * 1024
EVENT_BYTES = 1024 * 1024
STREAM_BYTES = 64 * 1024 * 1024
TEXTS_A_REQUEST = 128
CONNECT_SECONDS = 10
LONGEST_STREAM_SECONDS = 600


class OpenAI:
    """Passes requests on as they are, but for the model; checks the shape of what comes back."""

    async def complete(self, endpoint: EndpointSpec, request: Json) -> Json:
        """See Provider.complete."""
        body = {**request, "model": endpoint.model}
        return await _exchanged(endpoint, "/chat/completions", body, COMPLETION_BYTES)

    async def stream(self, endpoint: EndpointSpec, request: Json) -> AsyncGenerator[Json]:
        """See Provider.stream. The endpoint's timeout is for each silence between two chunks."""
        body = {**request, "model": endpoint.model, "stream": True}
        with failures.translated(endpoint):
            async with _posted(endpoint, "/chat/completions", body, _silence(endpoint)) as response:
                await failures.check(response, endpoint)
                if response.content_type != "text/event-stream":
                    raise failures.malformed(endpoint, "it is not an event stream")
                async for chunk in _chunks(response, endpoint):
                    yield chunk

    async def embed(self, endpoint: EndpointSpec, texts: Sequence[str]) -> Vectors:
        """See Provider.embed."""
        vectors: list[list[float]] = []
        tokens: int | None = 0
        version = endpoint.model
        for batch in _batches(texts):
            answer = await _exchanged(
                endpoint, "/embeddings", _embedding_request(endpoint, batch), VECTORS_BYTES
            )
            vectors += _vectors(answer, len(batch), endpoint)
            tokens = _sum(tokens, answer.get("usage"))
            version = str(answer.get("model") or endpoint.model)
        return Vectors(vectors=vectors, tokens=tokens, version=version)


def _posted(
    endpoint: EndpointSpec, path: str, body: Json, timeout: aiohttp.ClientTimeout
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    return connections.session().post(
        (endpoint.base_url or DEFAULT_BASE_URL).rstrip("/") + path,
        data=orjson.dumps(body),
        headers=_headers(endpoint),
        timeout=timeout,
    )


def _headers(endpoint: EndpointSpec) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key is not None:
        headers["Authorization"] = f"Bearer {endpoint.api_key.reveal()}"
    return headers


async def _exchanged(endpoint: EndpointSpec, path: str, body: Json, limit: int) -> Json:
    with failures.translated(endpoint):
        async with _posted(endpoint, path, body, _whole(endpoint)) as response:
            await failures.check(response, endpoint)
            return failures.parsed(await outgoing.read_bounded(response, limit), endpoint)


def _whole(endpoint: EndpointSpec) -> aiohttp.ClientTimeout:
    seconds = endpoint.timeout_seconds
    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT_SECONDS, seconds))


def _silence(endpoint: EndpointSpec) -> aiohttp.ClientTimeout:
    seconds = endpoint.timeout_seconds
    return aiohttp.ClientTimeout(
        total=max(LONGEST_STREAM_SECONDS, seconds),
        sock_connect=min(CONNECT_SECONDS, seconds),
        sock_read=seconds,
    )


async def _chunks(response: aiohttp.ClientResponse, endpoint: EndpointSpec) -> AsyncGenerator[Json]:
    """Yield the stream's chunks up to [DONE]; a stream without it must have said why it stops."""
    events, size, is_finished = EventStream(limit=EVENT_BYTES), 0, False
    async for data in response.content.iter_any():
        size += len(data)
        if size > STREAM_BYTES:
            raise ProviderOversized(endpoint=endpoint.slug, limit=STREAM_BYTES)
        for event in _events(events, data, endpoint):
            if event == b"[DONE]":
                return
            chunk = _chunk(event, endpoint)
            is_finished = is_finished or _finishes(chunk)
            yield chunk
    if not is_finished:
        raise ProviderCut(endpoint=endpoint.slug)


def _events(events: EventStream, data: bytes, endpoint: EndpointSpec) -> list[bytes]:
    try:
        return list(events.feed(data))
    except EventTooLong:
        raise ProviderOversized(endpoint=endpoint.slug, limit=EVENT_BYTES) from None


def _chunk(event: bytes, endpoint: EndpointSpec) -> Json:
    chunk = failures.parsed(event, endpoint)
    if chunk.get("error"):
        failures.raise_reported(chunk["error"], endpoint)
    choices = chunk.get("choices")
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
        raise failures.malformed(endpoint, "a chunk has no choices")
    return chunk


def _finishes(chunk: Json) -> bool:
    return any(choice.get("finish_reason") for choice in chunk["choices"])


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[i : i + TEXTS_A_REQUEST] for i in range(0, len(texts), TEXTS_A_REQUEST)]


def _embedding_request(endpoint: EndpointSpec, texts: Sequence[str]) -> Json:
    request: Json = {"model": endpoint.model, "input": list(texts), "encoding_format": "float"}
    if endpoint.dimensions is not None:
        request["dimensions"] = endpoint.dimensions
    return request


def _vectors(answer: Json, count: int, endpoint: EndpointSpec) -> list[list[float]]:
    """Return the vectors in the order of the texts, which the protocol keeps in `index`."""
    data = answer.get("data")
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise failures.malformed(endpoint, "it has no list of vectors")
    if not all(map(_is_placed_vector, data)):
        raise failures.malformed(endpoint, "a vector is not one")
    by_index = {item["index"]: item["embedding"] for item in data}
    if len(data) != count or set(by_index) != set(range(count)):
        raise failures.malformed(endpoint, "it does not have one vector a text")
    return [by_index[index] for index in range(count)]


def _is_placed_vector(item: Json) -> bool:
    vector = item.get("embedding")
    is_vector = isinstance(vector, list) and all(type(x) in {int, float} for x in vector)
    return is_vector and type(item.get("index")) is int


def _sum(tokens: int | None, usage: object) -> int | None:
    more = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens + more if tokens is not None and type(more) is int and more >= 0 else None
