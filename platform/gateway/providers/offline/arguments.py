"""The only place for filling a tool's arguments: from the request's words, else earlier results."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from gateway.providers.offline.catalogue import OfferedTool, type_of
from gateway.providers.offline.finding import found
from gateway.providers.offline.kinds import Kind, in_minor_units, kind_of
from gateway.providers.offline.transcript import ToolResult
from gateway.providers.offline.words import pieces

IN_FULL = re.compile(
    r"\b(?:in full|full(?:y)? refund|full amount|(?:whole|entire|complete|total) (?:amount|sum)"
    r"|everything|fully)\b",
    re.IGNORECASE,
)
REMAINING = ("refundable", "remaining", "left", "outstanding", "total")
LISTED: frozenset[Kind] = frozenset({"id", "money"})
UNBORROWED: frozenset[Kind] = frozenset({"prose", "reason"})
LONGEST_BORROWED = 80
LONGEST_QUERY = 400
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


class Filled(msgspec.Struct, frozen=True):
    """Argument sets for one tool, in order; `missing` names the required ones not found, and
    `unclear` those of which the request names several without saying which."""

    variants: tuple[dict[str, Any], ...]
    missing: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every required argument is known."""
        return not self.missing and not self.unclear


def fill(
    tool: OfferedTool, request: str, *, clause: str | None, results: list[ToolResult]
) -> Filled:
    """Fill the arguments of `tool`; `clause` is the part of the request that asks for it.

    Required arguments come from the clause (numbers and sums), else from the request, else from
    a field of the same name in `results` (newest first); optional ones from words that name them.
    """
    columns: dict[str, list[Any]] = {}
    for name, schema in tool.properties.items():
        column = _column(tool, name, schema, request, clause)
        if not column and name in tool.required:
            column = _borrowed(name, schema, request, results)
        if column:
            columns[name] = column
    missing = tuple(name for name in tool.required if name not in columns)
    return _paired(columns, missing)


def spoken(tool: OfferedTool, request: str) -> bool:
    """Whether the request itself names a value for at least one required argument."""
    return any(
        found(name, tool.properties[name], request, tool.topics)
        for name in tool.required
        if name in tool.properties
    )


def _column(
    tool: OfferedTool, name: str, schema: dict[str, Any], request: str, clause: str | None
) -> list[Any]:
    if name == tool.query:
        query = " ".join(request.split())[:LONGEST_QUERY]
        return [query] if query else []
    if name not in tool.required and not _named_in(name, schema, request):
        return []
    listed = kind_of(name, schema) in LISTED
    near = found(name, schema, clause, tool.topics) if clause and listed else []
    column = near or found(name, schema, request, tool.topics) or _default(schema)
    return column if listed else column[:1]


def _named_in(name: str, schema: dict[str, Any], request: str) -> bool:
    """An optional argument is filled only where the words of its kind are unmistakable."""
    kind = kind_of(name, schema)
    if kind in {"integer", "number", "text", "id"}:
        return any(len(piece) > 2 and piece in request.lower() for piece in pieces(name))
    return "const" not in schema


def _default(schema: dict[str, Any]) -> list[Any]:
    return [schema["default"]] if schema.get("default") is not None else []


def _borrowed(
    name: str, schema: dict[str, Any], request: str, results: list[ToolResult]
) -> list[Any]:
    """A value of an earlier result: the field of the same name, or what is left if all is meant."""
    kind = kind_of(name, schema)
    if kind in UNBORROWED:
        return []
    for result in reversed(results):
        fields = _fields(result)
        value = fields.get(name)
        if kind == "money" and IN_FULL.search(request):
            value = _remaining(name, schema, fields)
        elif kind == "money" and result.searched:
            value = None
        if _borrowable(value, schema):
            return [value]
    return []


def _fields(result: ToolResult) -> dict[str, Any]:
    """A result's own scalar fields and those of the objects right under it; never its lists."""
    if result.error or not isinstance(result.value, dict):
        return {}
    fields: dict[str, Any] = {}
    for value in result.value.values():
        fields |= value if isinstance(value, dict) else {}
    return fields | result.value


def _remaining(name: str, schema: dict[str, Any], fields: dict[str, Any]) -> Any:
    for word in REMAINING:
        for field, value in fields.items():
            named = pieces(field)
            if word in named and in_minor_units(field, {}) == in_minor_units(name, schema):
                return value
    return None


def _borrowable(value: Any, schema: dict[str, Any]) -> bool:
    if isinstance(value, bool):
        return type_of(schema) == "boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(value, str) and (len(value) > LONGEST_BORROWED or "\n" in value):
        return False
    members = schema.get("enum")
    listed = not isinstance(members, list) or value in members
    return listed and isinstance(value, JSON_TYPES.get(type_of(schema), ()))


def _paired(columns: dict[str, list[Any]], missing: tuple[str, ...]) -> Filled:
    """Argument sets: single values serve all sets; lists of one length go together in order."""
    width = max((len(column) for column in columns.values()), default=1)
    unclear = tuple(name for name, column in columns.items() if len(column) not in {1, width})
    lone = [name for name, column in columns.items() if len(column) == width > 1]
    if width > 1 and len(lone) == 1 and len(columns) > 1 and _is_sum(columns[lone[0]], lone[0]):
        unclear = (*unclear, lone[0])
    variants = tuple(
        {name: column[row if len(column) == width else 0] for name, column in columns.items()}
        for row in range(width)
    )
    return Filled(variants=variants, missing=missing, unclear=unclear)


def _is_sum(column: list[Any], name: str) -> bool:
    """Whether a column with several values holds sums: two sums for one order say nothing."""
    return kind_of(name, {"type": "integer"}) == "money" and len(column) > 1
