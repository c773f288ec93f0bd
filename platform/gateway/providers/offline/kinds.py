"""The only place that decides what kind of value an argument takes, from its name and schema."""

from __future__ import annotations

from typing import Any, Literal

from gateway.providers.offline.catalogue import type_of
from gateway.providers.offline.lexicon import word_set
from gateway.providers.offline.transcript import text_of
from gateway.providers.offline.words import pieces, words

Kind = Literal[
    "array",
    "boolean",
    "currency",
    "date",
    "datetime",
    "email",
    "enum",
    "id",
    "integer",
    "money",
    "number",
    "object",
    "place",
    "prose",
    "reason",
    "text",
    "time",
    "url",
]

IDENTIFYING = word_set("id ids number no nr ref reference code sku key uuid identifier")
MONEY = word_set("cents cent amount price total cost fee sum budget salary payment minor")
PLACES = word_set(
    """city place location town destination origin country region venue address where"""
)
PROSE = word_set(
    """message body text note notes comment description content details summary title subject"""
)
BY_WORD: tuple[tuple[Kind, frozenset[str]], ...] = (
    (
        "email",
        word_set("email emails mail recipient recipients attendee attendees"),
    ),
    ("url", word_set("url uri link website")),
    ("currency", word_set("currency")),
    ("reason", word_set("reason why because justification cause")),
    ("prose", PROSE),
    ("date", word_set("date day")),
    ("time", word_set("time")),
    ("place", PLACES),
)
BY_FORMAT: dict[str, Kind] = {
    "date": "date",
    "date-time": "datetime",
    "time": "time",
    "email": "email",
    "uri": "url",
    "url": "url",
    "uuid": "id",
}
BY_TYPE: dict[str, Kind] = {"array": "array", "object": "object", "boolean": "boolean"}


def kind_of(name: str, schema: dict[str, Any]) -> Kind:
    """What a value for the property `name` of this (resolved) schema looks like."""
    if isinstance(schema.get("enum"), list) or "const" in schema:
        return "enum"
    kind = type_of(schema)
    if kind in BY_TYPE:
        return BY_TYPE[kind]
    named = pieces(name)
    if kind in {"integer", "number"}:
        return _number_kind(named, schema, kind)
    formatted = BY_FORMAT.get(text_of(schema.get("format")))
    return formatted or _text_kind(named)


def in_minor_units(name: str, schema: dict[str, Any]) -> bool:
    """Whether a sum is asked for in hundredths: the name or the description says cents or minor."""
    told = {*pieces(name), *words(text_of(schema.get("description")))}
    return not told.isdisjoint({"cents", "cent", "minor", "pence"})


def _number_kind(named: list[str], schema: dict[str, Any], kind: str) -> Kind:
    if in_minor_units(" ".join(named), schema) or not MONEY.isdisjoint(named):
        return "money"
    if named and named[-1] in IDENTIFYING:
        return "id"
    return "integer" if kind == "integer" else "number"


def _text_kind(named: list[str]) -> Kind:
    for kind, hints in BY_WORD:
        if not hints.isdisjoint(named):
            return kind
    if named and (named[-1] in IDENTIFYING or named[0] in {"sku", "order", "ticket"}):
        return "id"
    return "money" if named and named[-1] in {"amount", "price"} else "text"
