"""The only place that reads JSON Schemas (2020-12) which tenants wrote, and checks values by them.

Schema and value come from others, and a worker serves all tenants, so whatever they are, a check
ends soon: patterns run in linear time (RE2), each step of a check is paid for from a fixed amount
of work, and a schema is bounded when it is saved. The amount is counted and not timed: a check
answers the same on every machine. MUST NOT fetch anything: a reference leads to a place in the
schema itself, or nowhere. MUST NOT use Python's `re` for a tenant's pattern.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

import jsonschema
import msgspec
import re2  # type: ignore[import-untyped]  # it ships no types
import referencing
from jsonschema.protocols import Validator
from referencing.exceptions import Unresolvable

LONGEST_PROBLEM = 500
MOST_BYTES = 65_536
MOST_PARTS = 1_000
LONGEST_PROGRAM = 5_000  # RE2's instructions; a class like \p{L} takes about 1,200
PATTERN_MEMORY = 1 << 20
WORK = 200_000  # steps of a check, each of about 5 microseconds
# RE2 reads a byte in at most about 20 nanoseconds an instruction: so many are a step.
READ_IN_A_STEP = 250
COMPARED_IN_A_STEP = 10
STEPS_DOWN = 4  # entering another schema
# Where schemas lie in a schema: under names that the author gave, alone, or in a list.
NAMED = {"properties", "$defs", "definitions", "dependentSchemas"}
ALONE = {"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"}
LISTED = {"prefixItems", "allOf", "anyOf", "oneOf"}
# What can't be checked in bounded work, or would be left out silently.
REFUSED = {
    "patternProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "dependencies",
    "$dynamicRef",
}
TYPES = 7

Schema = dict[str, Any]


class SchemaUnusable(Exception):
    """The schema can't be used; the message says where and why."""


class _TooMuchWork(Exception):
    """The check would take too long."""


def check(schema: Schema) -> None:
    """Raises SchemaUnusable unless `schema` is a JSON Schema that can be checked in bounded work.

    It refers to nothing outside of itself, has at most MOST_BYTES, and its patterns are RE2's
    (https://github.com/google/re2/wiki/Syntax): without lookaround and backreferences.
    """
    _check_size(schema)
    _check_admitted(schema)
    try:
        # Without formats: what a pattern may be says RE2, not Python.
        formats = jsonschema.FormatChecker(formats=())
        jsonschema.Draft202012Validator.check_schema(schema, format_checker=formats)
    except jsonschema.SchemaError as problem:
        raise SchemaUnusable(f"it is no JSON Schema: {_short(problem.message)}") from None
    except RecursionError:
        raise SchemaUnusable("it is nested too deeply") from None
    found = mismatch({}, schema)
    if found in {_NOWHERE, _ENDLESS}:
        raise SchemaUnusable("a $ref leads nowhere, or in a circle")
    if found == _TOO_MUCH:
        raise SchemaUnusable("even an empty object takes too much work to be checked")


def types(schema: Schema) -> set[str]:
    """Every type that `schema` names, however deep."""
    named = [part.get("type", []) for _, part in _parts(schema) if isinstance(part, dict)]
    return {kind for kinds in named for kind in ([kinds] if isinstance(kinds, str) else kinds)}


def mismatch(value: Any, schema: Schema) -> str | None:
    """Where and why `value` does not fit `schema`, or None. Never raises, and never takes long."""
    token = _work_left.set([WORK])
    try:
        _check_admitted(schema)
        # With a $schema or an $id, jsonschema would judge references to it by its own class.
        root = {key: inner for key, inner in schema.items() if key not in {"$schema", "$id"}}
        validator = _Bounded(root, registry=referencing.Registry())
        problem = next(validator.iter_errors(value), None)
    except SchemaUnusable as unusable:
        return f"at $: {_short(str(unusable))}"
    except _TooMuchWork:
        return _TOO_MUCH
    except Unresolvable:
        return _NOWHERE
    except RecursionError:
        return _ENDLESS
    finally:
        _work_left.reset(token)
    return None if problem is None else f"at {problem.json_path}: {_short(problem.message)}"


_NOWHERE = "at $: the schema refers to something that is not in it"
_ENDLESS = "at $: it is nested too deeply"
_TOO_MUCH = "at $: it is too large to be checked against the schema"


def _parts(schema: Any, at: str = "") -> Iterator[tuple[str, Schema | bool]]:
    """The schema and every schema inside of it, each with its place (RFC 6901)."""
    if not isinstance(schema, dict | bool):
        return
    yield at, schema
    for keyword, inner in schema.items() if isinstance(schema, dict) else ():
        below = f"{at}/{_escaped(keyword)}"
        if keyword in ALONE:
            yield from _parts(inner, below)
        elif keyword in LISTED and isinstance(inner, list):
            for number, item in enumerate(inner):
                yield from _parts(item, f"{below}/{number}")
        elif keyword in NAMED and isinstance(inner, dict):
            for name, item in inner.items():
                yield from _parts(item, f"{below}/{_escaped(name)}")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _check_size(schema: Schema) -> None:
    try:
        size = len(msgspec.json.encode(schema))
        parts = sum(1 for _ in _parts(schema))
    except RecursionError:
        raise SchemaUnusable("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise SchemaUnusable("it holds half of a character") from None
    if size > MOST_BYTES or parts > MOST_PARTS:
        raise SchemaUnusable(f"it has more than {MOST_BYTES} bytes, or {MOST_PARTS} schemas in it")


def _check_admitted(schema: Schema) -> None:
    """Refuse what could not be checked in bounded work. Raises SchemaUnusable, RecursionError."""
    parts = list(_parts(schema))
    places = {f"#{at}" for at, _ in parts}
    for at, part in parts:
        if isinstance(part, dict):
            _check_part(part, at, places)


def _check_part(part: Schema, at: str, places: set[str]) -> None:
    refused = REFUSED if at == "" else REFUSED | {"$id", "$schema"}
    for keyword in part.keys() & refused:
        raise SchemaUnusable(f"{at or '/'}: {keyword} can't be used here")
    kinds, to, pattern = part.get("type"), part.get("$ref"), part.get("pattern")
    if isinstance(kinds, list) and len(kinds) > TYPES:
        raise SchemaUnusable(f"{at}/type: there are {TYPES} types")
    if isinstance(to, str) and not to.startswith("#"):
        raise SchemaUnusable(f"{at}: a $ref leads outside of it")
    if isinstance(to, str) and unquote(to) not in places:
        raise SchemaUnusable(f"{at}: a $ref leads nowhere: {to[:100]}")
    if isinstance(pattern, str):
        _check_pattern(pattern, at)


def _check_pattern(pattern: str, at: str) -> None:
    where = f"{at}/pattern: {pattern[:100]!r} can't be used"
    try:
        size = _compiled(pattern).programsize
    except re2.error as problem:
        why = problem.args[0]
        why = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise SchemaUnusable(
            f"{where}: {why}. Patterns are RE2's, without lookaround and backreferences"
        ) from None
    if size > LONGEST_PROGRAM:
        raise SchemaUnusable(f"{where}: it is too large")


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = PATTERN_MEMORY, False, True
    return re2.compile(pattern.encode(errors="replace"), options)


# What is left of the check that this thread makes, in a list that its steps take from.
_work_left: ContextVar[list[int]] = ContextVar("work_left")


def _spend(steps: int) -> None:
    left = _work_left.get()
    left[0] -= steps
    if left[0] < 0:
        raise _TooMuchWork


def _charged(keyword: str, judge: Any) -> Any:
    """The keyword's judge, who takes what he does from the work that is left."""

    def judged(
        validator: Validator, wanted: Any, value: Any, schema: Schema
    ) -> Iterator[jsonschema.ValidationError]:
        _spend(_cost(keyword, wanted, value))
        for problem in judge(validator, wanted, value, schema) or ():
            _spend(len(problem.message) // READ_IN_A_STEP)  # it quotes the value
            yield problem

    return judged


def _cost(keyword: str, wanted: Any, value: Any) -> int:
    """The steps of one keyword at one value, what lies below them aside."""
    if keyword in {"enum", "const"}:
        return 1 + _weight(wanted) * _weight(value) // COMPARED_IN_A_STEP
    if keyword == "uniqueItems":
        return 1 + _weight(value) // COMPARED_IN_A_STEP
    own = STEPS_DOWN if keyword in {"$ref", *ALONE, *LISTED, *NAMED} else 1
    listed = _weight(wanted) if keyword == "dependentRequired" else _length(wanted)
    return own + (listed + _length(value)) // COMPARED_IN_A_STEP


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _weight(value: Any) -> int:
    """How many values it holds; a long text counts for several."""
    if isinstance(value, str):
        return 1 + len(value) // READ_IN_A_STEP
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_weight, inner))


def _pattern(
    _: Validator, pattern: str, value: Any, schema: Schema
) -> Iterator[jsonschema.ValidationError]:
    del schema
    if not isinstance(value, str):
        return
    compiled, text = _compiled(pattern), value.encode(errors="replace")
    _spend(len(text) * compiled.programsize // READ_IN_A_STEP)
    if not compiled.search(text):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _unique_items(
    _: Validator, wanted: Any, value: Any, schema: Schema
) -> Iterator[jsonschema.ValidationError]:
    # jsonschema compares each with each where they can't be sorted.
    del schema
    if wanted and isinstance(value, list) and len(set(map(_identity, value))) < len(value):
        yield jsonschema.ValidationError("it has an item twice")


def _identity(value: Any) -> str:
    """The same text for what is equal in JSON: 1 and 1.0 are, 1 and true are not."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


_JUDGES = {
    **jsonschema.Draft202012Validator.VALIDATORS,
    "pattern": _pattern,
    "uniqueItems": _unique_items,
}
_Bounded: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]  # it has no types
    jsonschema.Draft202012Validator,
    {keyword: _charged(keyword, judge) for keyword, judge in _JUDGES.items()},
)


def _short(message: str) -> str:
    # jsonschema quotes the value, which may be long.
    return message if len(message) <= LONGEST_PROBLEM else f"{message[:LONGEST_PROBLEM]}…"
