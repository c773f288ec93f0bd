"""The only place that says whether a model's output may be used. Malformed output stops here."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import msgspec

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
        turn = ModelTurn(content=message.get("content") or "", calls=calls)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Unusable("it was not a chat completion.") from None
    if not turn.calls and not turn.content.strip():
        raise Unusable("it was empty.")
    if len({call.id for call in calls}) != len(calls) or len(calls) > MAX_CALLS:
        raise Unusable(f"it had more than {MAX_CALLS} calls, or two with one id.")
    return turn


def _call(call: dict[str, Any]) -> Call:
    return Call(
        id=str(call["id"]),
        name=str(call["function"]["name"]),
        arguments=str(call["function"]["arguments"]),
    )


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
        data = msgspec.json.decode(answer)
        jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)
    except msgspec.DecodeError as problem:
        raise Unusable(f"it must be JSON: {problem}.") from None
    except jsonschema.ValidationError as problem:
        raise Unusable(
            f"it does not fit the schema at {problem.json_path}: {problem.message}."
        ) from None
    return data
