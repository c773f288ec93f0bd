"""The only place that puts tool results into plain sentences: their fields, and nothing else."""

from __future__ import annotations

from typing import Any

from gateway.providers.offline import lexicon
from gateway.providers.offline.catalogue import OfferedTool
from gateway.providers.offline.transcript import ToolResult, text_of
from gateway.providers.offline.words import stems

MAX_FIELDS = 24
MAX_ROWS = 5
MAX_TEXT = 300


def tell(result: ToolResult, tool: OfferedTool, request: str) -> str:
    """One result as a sentence or two: what came back, or why it was not performed."""
    error = result.error
    if error is not None:
        return _told_error(tool, error)
    stated = _stated(result, request if tool.reads else "")
    if tool.reads:
        return f"According to {tool.name}: {stated}." if stated else f"{tool.name} found nothing."
    done = _done(tool)
    return f"{done}: {stated}." if stated else f"{done}."


def _told_error(tool: OfferedTool, error: dict[str, str]) -> str:
    reason = _ended(error["message"] or error["code"] or "no reason was given")
    if tool.reads:
        return f"{tool.name} gave no result: {reason}"
    act = _act(tool)
    if error["code"] in lexicon.UNKNOWN_OUTCOMES:
        return f"It is not known whether {act[:1].lower()}{act[1:]} was made: {reason}"
    verb = "was rejected and not made" if error["code"] == "rejected" else "was not made"
    return f"{act} {verb}: {reason}"


def _ended(text: str) -> str:
    cut = _cut(text)
    return cut if cut.endswith((".", "!", "?", "…")) else f"{cut}."


def _act(tool: OfferedTool) -> str:
    """What the act is called: "The refund", else "The call create_event"."""
    first = tool.phrase.partition(" ")[0]
    noun = lexicon.ACT_NOUNS.get(first)
    return f"The {noun}" if noun else f"The call {tool.name}"


def _done(tool: OfferedTool) -> str:
    return f"{_act(tool)} was made"


def _stated(result: ToolResult, request: str) -> str:
    value = result.value
    if isinstance(value, dict):
        fields = _flat(value)
        return ", ".join(f"{name} {text}" for name, text in _asked_for(fields, result, request))
    if isinstance(value, list):
        return _listed(value)
    return _cut(text_of(value))


def _flat(row: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A result's fields as words and text; objects one level down are told as their own fields."""
    currency = row.get("currency") if any(_in_cents(key) for key in row) else None
    fields: list[tuple[str, str]] = []
    for key, value in row.items():
        name = f"{prefix}{text_of(key).replace('_', ' ')}"
        if isinstance(value, dict) and not prefix:
            fields += _flat(value, f"{name} ")
        elif value is not None and value != "" and value is not currency:
            fields.append(_field(name, value, currency))
    return fields[:MAX_FIELDS]


def _in_cents(key: Any) -> bool:
    return text_of(key).endswith("_cents")


def _field(name: str, value: Any, currency: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return name, "yes" if value else "no"
    if isinstance(value, int) and name.endswith(" cents") and isinstance(currency, str):
        sign, cents = "-" if value < 0 else "", abs(value)
        money = f"{sign}{cents // 100}.{cents % 100:02d} {_cut(currency)}"
        return name.removesuffix(" cents"), money
    if isinstance(value, list):
        return name, f"({_listed(value)})" if value else "none"
    return name, _cut(text_of(value))


def _listed(rows: list[Any]) -> str:
    told = [
        " ".join(f"{name} {text}" for name, text in _flat(row))
        if isinstance(row, dict)
        else _cut(text_of(row))
        for row in rows[:MAX_ROWS]
        if not isinstance(row, list)
    ]
    more = len(rows) - MAX_ROWS
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def _asked_for(
    fields: list[tuple[str, str]], result: ToolResult, request: str
) -> list[tuple[str, str]]:
    """The fields that the request names and those that say which row; else all of them."""
    said = set(stems(request))
    known = {name.replace("_", " ") for name in result.arguments}
    named = {name for name, _ in fields if name not in known and said & set(stems(name))}
    if not named:
        return fields
    return [(name, text) for name, text in fields if name in named or name in known]


def _cut(text: str) -> str:
    single = " ".join(text.split())
    return single if len(single) <= MAX_TEXT else f"{single[:MAX_TEXT].rstrip()}…"
