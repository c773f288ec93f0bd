"""The only place for the wire format: chat completions, their chunks, and the counting of tokens.

Shapes are those of OpenAI's API (POST /chat/completions, objects `chat.completion` and
`chat.completion.chunk`). Ids are digests of the content and `created` is 0: the provider reads no
clock, so the same request gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator

import msgspec

from gateway.providers.offline.transcript import text_of
from gateway.providers.protocol import Json

FINGERPRINT = "offline"
TOKEN = re.compile(r"\w+|[^\w\s]")
SLICE = re.compile(r"\S+\s*|\s+")
CHARACTERS_A_TOKEN = 4
TOKENS_A_MESSAGE = 4
WORDS_A_CHUNK = 4


class Reply(msgspec.Struct, frozen=True):
    """What the provider says: words, or one tool call (name and JSON arguments)."""

    content: str | None
    call: tuple[str, str] | None
    prompt_tokens: int
    length: int
    cut: bool = False


def tokens(text: str) -> int:
    """The estimate used for usage: a token for each started four characters of a word, one for
    each punctuation mark. Within about a fifth of common tokenizers on English prose."""
    return sum(-(-len(match.group()) // CHARACTERS_A_TOKEN) for match in TOKEN.finditer(text))


def prompt_tokens(request: Json) -> int:
    """The estimate for a whole request: its messages with four tokens each, and its tools."""
    messages = request.get("messages")
    rows = messages if isinstance(messages, list) else []
    counted = sum(TOKENS_A_MESSAGE + _message_tokens(row) for row in rows)
    return counted + (tokens(text_of(request["tools"])) if request.get("tools") else 0)


def truncated(content: str, request: Json) -> tuple[str, bool]:
    """`content` within the request's token limit, and whether that cut it."""
    limit = request.get("max_completion_tokens", request.get("max_tokens"))
    if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
        return content, False
    spent = 0
    for match in SLICE.finditer(content):
        spent += tokens(match.group())
        if spent > limit:
            return content[: match.start()].rstrip(), True
    return content, False


def completion(reply: Reply, model: str) -> Json:
    """A `chat.completion` object with one choice and its usage."""
    message: Json = {"role": "assistant", "content": reply.content, "refusal": None}
    if reply.call:
        message["tool_calls"] = [_tool_call(reply)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}
    head = _head(reply, model, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(reply)}


def chunks(reply: Reply, model: str) -> Iterator[Json]:
    """The same reply as `chat.completion.chunk` objects: role, deltas, finish, then usage."""
    head = _head(reply, model, "chat.completion.chunk")
    first: Json = {"role": "assistant", "content": None if reply.call else ""}
    for delta in (first, *_deltas(reply)):
        yield {**head, "choices": [_delta(delta, None)], "usage": None}
    yield {**head, "choices": [_delta({}, _finish(reply))], "usage": None}
    yield {**head, "choices": [], "usage": _usage(reply)}


def _deltas(reply: Reply) -> Iterator[Json]:
    if reply.call:
        call = _tool_call(reply)
        arguments = call["function"]["arguments"]
        opened = {**call, "function": {**call["function"], "arguments": ""}}
        yield {"tool_calls": [{"index": 0, **opened}]}
        for part in _slices(arguments):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}
    for part in _slices(reply.content or ""):
        yield {"content": part}


def _slices(text: str) -> Iterator[str]:
    """`text` in pieces of a few words, which joined give exactly `text`."""
    pieces = SLICE.findall(text)
    for start in range(0, len(pieces), WORDS_A_CHUNK):
        yield "".join(pieces[start : start + WORDS_A_CHUNK])


def _delta(delta: Json, finish: str | None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _head(reply: Reply, model: str, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{_digest(reply)}",
        "object": kind,
        "created": 0,
        "model": model,
        "system_fingerprint": FINGERPRINT,
    }


def _tool_call(reply: Reply) -> Json:
    name, arguments = reply.call or ("", "{}")
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{_digest(reply)}", "type": "function", "function": function}


def _digest(reply: Reply) -> str:
    """Names a reply by its content and its place: a later call with equal arguments differs."""
    said = json.dumps([reply.content, reply.call, reply.length])
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def _finish(reply: Reply) -> str:
    return "tool_calls" if reply.call else "length" if reply.cut else "stop"


def _usage(reply: Reply) -> Json:
    said = reply.content or "".join(reply.call or ())
    spent = tokens(said)
    total = reply.prompt_tokens + spent
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": spent,
        "total_tokens": total,
    }


def _message_tokens(row: object) -> int:
    if not isinstance(row, dict):
        return 0
    return sum(tokens(text_of(row[part])) for part in ("content", "tool_calls") if row.get(part))
