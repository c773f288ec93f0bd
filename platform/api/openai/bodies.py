"""The only place that reads what clients send: chat requests and embedding requests.

What a model makes of a field is the provider's to judge, so unknown ones are passed on. Checked
is what this side acts on.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from api import parsers
from api.openai.problems import FieldInvalid
from api.parsers import BodyMalformed
from gateway import requests
from gateway.requests import MOST_TEXTS

AGENT = "agent:"

Encoding = Literal["float", "base64"]
ENCODINGS: dict[str, Encoding] = {"float": "float", "base64": "base64"}


class ToEmbed(msgspec.Struct, frozen=True, kw_only=True):
    """A request for embeddings."""

    model: str
    texts: list[str]
    encoding: Encoding
    dimensions: int | None


def chat(body: bytes) -> dict[str, Any]:
    """A chat request as it was sent. Raises BodyMalformed, FieldInvalid, ModelRequestInvalid."""
    request = _object(body)
    if request.get("stream") not in (None, True, False):
        raise FieldInvalid(param="stream", reason="it must be a boolean")
    requests.check_chat(request)
    return request


def to_embed(body: bytes) -> ToEmbed:
    """A request for embeddings. Raises BodyMalformed, FieldInvalid."""
    request = _object(body)
    encoding = ENCODINGS.get(str(request.get("encoding_format") or "float"))
    if encoding is None:
        raise FieldInvalid(param="encoding_format", reason="it must be float or base64")
    dimensions = request.get("dimensions")
    if dimensions is not None and type(dimensions) is not int:
        raise FieldInvalid(param="dimensions", reason="it must be an integer")
    return ToEmbed(
        model=request["model"],
        texts=_texts(request.get("input")),
        encoding=encoding,
        dimensions=dimensions,
    )


def task(request: dict[str, Any]) -> str:
    """What an agent is asked: the text of the last message of the user. Raises FieldInvalid."""
    if request.get("tools") or request.get("functions"):
        raise FieldInvalid(param="tools", reason="an agent brings its own tools")
    asked = [message for message in request["messages"] if message.get("role") == "user"]
    text = _text(asked[-1].get("content")) if asked else ""
    if not text.strip():
        raise FieldInvalid(param="messages", reason="the last user message must hold text")
    return text


def _object(body: bytes) -> dict[str, Any]:
    request = parsers.read(body)
    if not isinstance(request, dict):
        raise BodyMalformed(reason="it is no JSON object")
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise FieldInvalid(param="model", reason="it must name a model")
    return request


def _texts(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_TEXTS:
        raise FieldInvalid(param="input", reason=f"it must be a text or 1 to {MOST_TEXTS} texts")
    if any(isinstance(text, int | list) for text in texts):
        raise FieldInvalid(param="input", reason="it must be text: tokens are not understood here")
    if not all(isinstance(text, str) and text for text in texts):
        raise FieldInvalid(param="input", reason="each must be a text that is not empty")
    return texts


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        raise FieldInvalid(param="messages", reason="an agent reads text, and no other content")
    return "\n".join(str(part.get("text", "")) for part in parts)
