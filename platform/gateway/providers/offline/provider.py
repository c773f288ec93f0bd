"""The only place where the offline provider meets the gateway: OpenAI's API without any model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence

from gateway.providers.offline import catalogue, embedding, planning, shapes, transcript, wire
from gateway.providers.offline.composing import compose
from gateway.providers.offline.shaping import shape
from gateway.providers.protocol import Json, ProviderModelUnknown, ProviderRefused, Vectors
from gateway.specs import EndpointSpec

CHAT_MODEL = "offline-extractive-1"
MAX_CHARACTERS = 2_000_000
CHARACTERS_INLINE = 8_000
TEXTS_INLINE = 8


class Offline:
    """Answers extractively and plans tool calls by matching words; deterministic, no network.

    It knows only what a request holds: `messages`, `tools`, `tool_choice`, `response_format` and
    the token limit. All else is ignored, once its shape was checked. It invents nothing: it quotes,
    states fields, asks for what is missing, or says that it does not know.
    """

    async def complete(self, endpoint: EndpointSpec, request: Json) -> Json:
        """Answer with a `chat.completion`; `ProviderModelUnknown` for another model's name,
        `ProviderRefused` for a request that OpenAI's API would refuse for its shape, for more than
        one choice, for parts that are not text, and for more than two million characters of
        messages and tools."""
        return wire.completion(await _reply(endpoint, request), endpoint.model)

    async def stream(self, endpoint: EndpointSpec, request: Json) -> AsyncGenerator[Json]:
        """Answer with `chat.completion.chunk` objects, the last of them with the usage."""
        for chunk in wire.chunks(await _reply(endpoint, request), endpoint.model):
            yield chunk

    async def embed(self, endpoint: EndpointSpec, texts: Sequence[str]) -> Vectors:
        """Unit vectors of 256 dimensions, or of fewer if the endpoint says so (the model is
        trained to be cut); `ProviderRefused` for more."""
        if endpoint.model != embedding.MODEL:
            raise ProviderModelUnknown(endpoint=endpoint.slug, model=endpoint.model)
        wanted = endpoint.dimensions or embedding.DIMENSIONS
        if wanted > embedding.DIMENSIONS:
            reason = f"{embedding.MODEL} has {embedding.DIMENSIONS} dimensions, not {wanted}."
            raise ProviderRefused(endpoint=endpoint.slug, reason=reason)
        small = len(texts) <= TEXTS_INLINE and sum(map(len, texts)) <= CHARACTERS_INLINE
        if small and embedding.loaded():
            found = embedding.embed(texts, wanted)
        else:
            found = await asyncio.to_thread(embedding.embed, texts, wanted)
        return Vectors(vectors=found.vectors, tokens=found.tokens, version=embedding.version())


async def _reply(endpoint: EndpointSpec, request: Json) -> wire.Reply:
    """Work that would hold the event loop for more than a few milliseconds goes to a thread."""
    if endpoint.model != CHAT_MODEL:
        raise ProviderModelUnknown(endpoint=endpoint.slug, model=endpoint.model)
    _check_shape(endpoint, request)
    size = len(transcript.text_of([request.get("messages"), request.get("tools")]))
    if size > MAX_CHARACTERS:
        reason = f"{size} characters are more than {MAX_CHARACTERS}."
        raise ProviderRefused(endpoint=endpoint.slug, reason=reason)
    if size <= CHARACTERS_INLINE:
        return reply(request)
    return await asyncio.to_thread(reply, request)


def _check_shape(endpoint: EndpointSpec, request: Json) -> None:
    try:
        shapes.check(request)
    except shapes.Misshapen as found:
        reason = f"{found.param or 'the request'}: {found.reason}."
        raise ProviderRefused(endpoint=endpoint.slug, reason=reason, param=found.param) from None


def reply(request: Json) -> wire.Reply:
    """The one reply to a chat request: a tool call, or an answer. Pure."""
    conversation = transcript.read(request.get("messages"))
    tools = catalogue.read(request.get("tools"))
    plan = planning.plan(conversation, tools, request.get("tool_choice"))
    spent = wire.prompt_tokens(request)
    if plan.call:
        arguments = json.dumps(plan.call.arguments, ensure_ascii=False, default=str)
        call = (plan.call.tool, transcript.text_of(arguments))
        return wire.Reply(None, call, spent, conversation.length)
    answer = compose(conversation, plan, tools)
    shaped = shape(answer, conversation, request.get("response_format"))
    content, cut = wire.truncated(transcript.text_of(shaped), request)
    return wire.Reply(content, None, spent, conversation.length, cut)
