"""The only place that reads a chat or embedding request: its shape, its digest, its size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import orjson

from audit.errors import Problem

COMMITMENT = "request_sha256"
MOST_TEXTS = 2_048
BYTES_A_TOKEN = 4  # English prose in the tokenizers of 2024 and later; only for estimates


class ModelRequestInvalid(Problem):
    """The request to the model is not valid: {reason}."""

    code = "model_request_invalid"
    status = 422


class Prompt(TypedDict):
    """What the entry of a call says of what the model was told, and by whose instructions."""

    prompt: str
    prompt_version: str | None


def arguments(request: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Return what an intent to call a model should carry in its `arguments`.

    `request` is the chat request, or the texts to embed, exactly as the door will get it. The
    digest stands in for it, because prompts hold what people must be able to have erased, and
    the ledger keeps what it was given. Raises ModelRequestInvalid where it is not JSON.
    """
    return {COMMITMENT: digest(request)}


def digest(request: Mapping[str, Any] | Sequence[str]) -> str:
    """Return the hex SHA-256 of a request as JSON with sorted keys; floats are welcome here."""
    return hashlib.sha256(_canonical(request)).hexdigest()


def parameters_sha256(request: Mapping[str, Any]) -> str:
    """Return the hex SHA-256 of a chat request without its messages: how the model was asked."""
    return digest({name: value for name, value in request.items() if name != "messages"})


def prompt_of(request: Mapping[str, Any] | Sequence[str], version: str | None) -> Prompt:
    """The hex SHA-256 of a request's messages, or of the texts to embed, as JSON with sorted keys.

    `version` is that of the agent whose instructions are in them, if one asks.
    """
    told = request.get("messages") if isinstance(request, Mapping) else list(request)
    return Prompt(prompt=hashlib.sha256(_canonical(told)).hexdigest(), prompt_version=version)


def check_chat(request: Mapping[str, Any]) -> None:
    """Raise ModelRequestInvalid unless there are messages; all else is the provider's to judge."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        reason = "messages must be a list with at least one message"
        raise ModelRequestInvalid(reason=reason, param="messages")
    if not all(isinstance(message, dict) for message in messages):
        raise ModelRequestInvalid(reason="each message must be an object", param="messages")


def wants_usage(request: Mapping[str, Any]) -> bool:
    """Whether the client asked for a chunk with the usage at the end of the stream."""
    options = request.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def for_complete(request: Mapping[str, Any], max_tokens: int | None) -> dict[str, Any]:
    """Return the request to send upstream for one whole answer."""
    rest = {k: v for k, v in request.items() if k not in {"stream", "stream_options"}}
    return _bounded(rest, max_tokens)


def for_stream(request: Mapping[str, Any], max_tokens: int | None) -> dict[str, Any]:
    """Return the request to send upstream for a stream that tells its usage."""
    options = request.get("stream_options")
    options = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return _bounded({**request, "stream": True, "stream_options": options}, max_tokens)


def estimated_tokens(value: object) -> int:
    """Return about how many tokens a JSON value has: for a provider that does not say."""
    size = len(value.encode()) if isinstance(value, str) else len(_canonical(value))
    return -(-size // BYTES_A_TOKEN)


def _bounded(request: dict[str, Any], max_tokens: int | None) -> dict[str, Any]:
    """Return `request` with the endpoint's own bound on the length of an answer."""
    if max_tokens is None:
        return request
    fields = [f for f in ("max_tokens", "max_completion_tokens") if request.get(f) is not None]
    for field in fields or ["max_tokens"]:
        asked = request.get(field)
        is_less = isinstance(asked, int) and asked < max_tokens
        request = {**request, field: asked if is_less else max_tokens}
    return request


def _canonical(value: object) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        raise ModelRequestInvalid(reason="it is not JSON") from None
