"""The only place that reads JSON Schemas (2020-12) which tenants wrote, and checks values by them.

MUST NOT fetch anything: a reference leads to a place in the schema itself, or nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import referencing
from referencing.exceptions import Unresolvable

LONGEST_PROBLEM = 500
# Keywords whose members are named by the author, and those that hold data instead of schemas.
NAMED = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
DATA = {"const", "default", "enum", "examples"}

Schema = dict[str, Any]


class SchemaUnusable(Exception):
    """The schema can't be used; the message says why."""


def check(schema: Schema) -> None:
    """Raises SchemaUnusable unless `schema` is a JSON Schema that refers to nothing outside."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as problem:
        raise SchemaUnusable(f"it is no JSON Schema: {_short(problem.message)}") from None
    except RecursionError:
        raise SchemaUnusable("it is nested too deeply") from None
    for part in _parts(schema):
        references = [part.get("$ref"), part.get("$dynamicRef")]
        if any(isinstance(to, str) and not to.startswith("#") for to in references):
            raise SchemaUnusable("a $ref leads outside of it")
    if mismatch({}, schema) in {_NOWHERE, _ENDLESS}:
        raise SchemaUnusable("a $ref leads nowhere, or in a circle")


def types(schema: Schema) -> set[str]:
    """Every type that `schema` names, however deep."""
    named = [part.get("type", []) for part in _parts(schema)]
    return {kind for kinds in named for kind in ([kinds] if isinstance(kinds, str) else kinds)}


def mismatch(value: Any, schema: Schema) -> str | None:
    """Where and why `value` does not fit `schema`, or None. Never raises."""
    validator = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())
    try:
        problem = next(validator.iter_errors(value), None)
    except Unresolvable:
        return _NOWHERE
    except RecursionError:
        return _ENDLESS
    return None if problem is None else f"at {problem.json_path}: {_short(problem.message)}"


_NOWHERE = "at $: the schema refers to something that is not in it"
_ENDLESS = "at $: it is nested too deeply"


def _parts(schema: Any) -> Iterator[Schema]:
    """The schema and every schema inside of it."""
    if isinstance(schema, list):
        for item in schema:
            yield from _parts(item)
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword, inner in schema.items():
        if keyword in NAMED and isinstance(inner, dict):
            for item in inner.values():
                yield from _parts(item)
        elif keyword not in DATA:
            yield from _parts(inner)


def _short(message: str) -> str:
    # jsonschema quotes the value, which may be long.
    return message if len(message) <= LONGEST_PROBLEM else f"{message[:LONGEST_PROBLEM]}…"
