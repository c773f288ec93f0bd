"""The only place that puts intents, steps and arguments into words for people. No database."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

DONE = {
    "call_model": "Asked the model through",
    "search_collection": "Searched",
    "use_tool": "Used the tool",
    "remember": "Remembered in",
    "refused": "Proposed",
}
PLANNED = {
    "call_model": "ask the model through the route",
    "search_collection": "search the collection",
    "use_tool": "use the tool",
    "remember": "remember something in",
}
UNDONE = {
    "held": "Wants to",
    "waiting": "Is about to",
    "begun": "Is about to",
    "denied": "Wanted to",
}
EFFECTS = {
    "read": "It only reads.",
    "write": "It changes something outside.",
    "irreversible": "It changes something outside, and that can't be undone.",
}
TRUSTED = frozenset({"task"})
"""The kinds of evidence that are the requester's own words; all else was written by others."""


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One argument of an intent, for a table: `seen_in` are the titles of the evidence with it.

    `amount` is what an amount in cents comes to, `37470` as `374.70`; "" for all else.
    """

    name: str
    value: str
    amount: str
    description: str
    seen_in: tuple[str, ...]
    is_trusted: bool


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer: plain text, or the reference of a passage."""

    text: str
    citation: dict[str, Any] | None = None


def planned(action: str, resource: str) -> str:
    """What an intent is about to do: "use the tool refund_order"."""
    return f"{PLANNED.get(action, action)} {resource}"


def told(action: str, resource: str, state: str) -> str:
    """What a step of a run did, or wants to do: "Used the tool refund_order"."""
    if state == "ended" or action == "refused":
        return f"{DONE.get(action, action)} {resource}"
    begin = UNDONE.get(state, "Tried to")
    return f"{begin} {planned(action, resource)}"


def arguments(
    values: Mapping[str, Any], schema: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]
) -> list[Argument]:
    """The arguments in their order, each with its meaning and where the evidence has its value."""
    parts = schema.get("properties", {})
    return [_argument(name, value, parts.get(name), evidence) for name, value in values.items()]


def _argument(
    name: str, value: Any, part: object, evidence: Sequence[Mapping[str, Any]]
) -> Argument:
    text, amount = as_text(value), _amount(name, value)
    spellings = {text, amount, amount.replace(",", "")} - {""}
    sources = [
        piece
        for piece in evidence
        if any(_occurs(spelling, str(piece.get("text", ""))) for spelling in spellings)
    ]
    description = part.get("description", "") if isinstance(part, Mapping) else ""
    return Argument(
        name=name,
        value=text,
        amount=amount,
        description=str(description),
        seen_in=tuple(dict.fromkeys(title_of(piece) for piece in sources)),
        is_trusted=any(piece.get("kind") in TRUSTED for piece in sources),
    )


def _amount(name: str, value: Any) -> str:
    """What an amount in cents comes to, as it is written in a sentence."""
    is_cents = name.endswith("cents") and isinstance(value, int) and not isinstance(value, bool)
    return f"{value // 100:,}.{value % 100:02d}" if is_cents and value >= 0 else ""


def _occurs(value: str, text: str) -> bool:
    """Whether `value` stands in `text` as a whole: 90 is not in 1990, nor in 90.50."""
    if not value.strip() or len(value) > 1_000:
        return False
    return bool(re.search(rf"(?<![\w.,-]){re.escape(value)}(?![\w-]|[.,]\d)", text, re.IGNORECASE))


def title_of(piece: Mapping[str, Any]) -> str:
    """What a piece of evidence is called on its page."""
    title = str(piece.get("title", ""))
    action, colon, resource = title.partition(":")
    if piece.get("kind") == "result" and colon and action in DONE:
        return f"Result of {resource}"
    return title


def as_text(value: Any) -> str:
    """A JSON value as people read it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """Indented JSON, in the order in which it was kept."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def pieces(text: str, citations: Sequence[dict[str, Any]]) -> list[Piece]:
    """An answer cut at its citations, so that each can become a link."""
    by_ref = {citation["ref"]: citation for citation in citations}
    cut = re.split(r"(\[P[1-9][0-9]*\])", text)
    return [Piece(text=part, citation=by_ref.get(part[1:-1])) for part in cut if part]
