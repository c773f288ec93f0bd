"""The only place that says whether a model's output may be used. Malformed output stops here."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from governance.evidence import kept, storable
from runtime import foreign, schemas
from runtime.transcripts import Call, ModelTurn, Transcript

CITATION = re.compile(r"\[(P[1-9][0-9]*)\]")
MAX_CALLS = 16


class Unusable(Exception):
    """The model's output breaks the contract; the message is for the model."""


def model_turn(response: dict[str, Any]) -> ModelTurn:
    """The first choice of a `chat.completion` as a turn. Raises Unusable."""
    try:
        message = response["choices"][0]["message"]
        calls = tuple(_call(call) for call in message.get("tool_calls") or ())
        turn = ModelTurn(content=_text(message.get("content") or ""), calls=calls)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Unusable("it was not a chat completion.") from None
    if not turn.calls and not turn.content.strip():
        raise Unusable("it was empty.")
    if len({call.id for call in calls}) != len(calls) or len(calls) > MAX_CALLS:
        raise Unusable(f"it had more than {MAX_CALLS} calls, or two with one id.")
    return turn


def _call(call: dict[str, Any]) -> Call:
    function = call["function"]
    arguments = function["arguments"]
    if isinstance(arguments, dict):  # some servers send the object instead of its text
        arguments = msgspec.json.encode(arguments).decode()
    return Call(
        id=_text(call["id"]), name=_text(function["name"]), arguments=_text(arguments or "")
    )


def _text(value: Any) -> str:
    """Text that can be kept. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return str(kept(value))


def check(answer: str, transcript: Transcript) -> dict[str, Any]:
    """The answer with its citations resolved: {text, citations[, data]}.

    A citation names a passage that was shown in this run; with an answer schema the text is
    JSON that fits it. Raises Unusable.
    """
    shown = transcript.passages()
    cited = list(dict.fromkeys(CITATION.findall(answer)))
    unknown = [ref for ref in cited if ref not in shown]
    if unknown:
        raise Unusable(f"it cites {', '.join(unknown)}, which was never shown.")
    result: dict[str, Any] = {"text": answer, "citations": [shown[ref] for ref in cited]}
    if transcript.answer_schema is not None:
        result["data"] = _data(answer, transcript.answer_schema)
    return result


def _data(answer: str, schema: dict[str, Any]) -> Any:
    try:
        data = foreign.parsed(answer)
    except foreign.Unreadable as problem:
        raise Unusable(f"it must be JSON: {problem}.") from None
    mismatch = schemas.mismatch(data, schema)
    if mismatch:
        raise Unusable(f"it does not fit the schema {mismatch}.")
    if not storable(data):
        raise Unusable("it holds a NUL character.")
    return data
