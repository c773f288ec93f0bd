"""The only place that reads JSON bodies: strictly, and bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.utils.http import parse_header_parameters
from rest_framework import parsers

from audit.errors import Problem

DEEPEST = 64
LONGEST_JSON = 2 * 1024 * 1024
LONGEST_NAME_SHOWN = 100
LONGEST_INTEGER = 20  # characters; and what the reader keeps as an integer
LEAST, MOST = -(2**63), 2**64 - 1
UTF_8 = frozenset({"utf-8", "utf8"})


class BodyMalformed(Problem):
    """The request's body can't be used: {reason}."""

    code = "body_malformed"
    status = 400


class CharsetUnsupported(Problem):
    """Send JSON in UTF-8, and not in {charset}."""

    code = "charset_unsupported"
    status = 415


class JSONTooLarge(Problem):
    """A body of JSON may have at most {limit} bytes."""

    code = "json_too_large"
    status = 413


class StrictJSON(parsers.BaseParser):
    """RFC 8259 JSON in UTF-8: no NaN, no NUL characters, no member twice, no integer of more than
    64 bits, 2 MB, 64 levels deep.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The value. Raises BodyMalformed, CharsetUnsupported, JSONTooLarge."""
        check_charset(media_type or "")
        data = stream.read(LONGEST_JSON + 1)
        if len(data) > LONGEST_JSON:
            raise JSONTooLarge(limit=LONGEST_JSON)
        value = read(data)
        _check(value, DEEPEST)
        return value


def check_charset(content_type: str) -> None:
    """Raise CharsetUnsupported where a Content-Type says that its text is not in UTF-8."""
    charset = parse_header_parameters(content_type)[1].get("charset", "utf-8")
    if charset.lower() not in UTF_8:
        raise CharsetUnsupported(charset=charset[:LONGEST_NAME_SHOWN])


def read(data: bytes) -> Any:
    """The value of a JSON text. Raises BodyMalformed.

    No object may have two members of one name: of two readers one might act on the first and one
    on the last (RFC 8259, section 4).
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BodyMalformed(reason="it is not UTF-8") from None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as problem:
        raise BodyMalformed(reason=f"it is no JSON: {problem}") from None
    try:
        _NAMES.decode(text)
    except RecursionError:
        raise BodyMalformed(reason="it is nested too deep") from None
    return value


def _once_each(members: list[tuple[str, Any]]) -> None:
    if len(names := {name for name, _ in members}) == len(members):
        return
    for name, _ in members:
        if name not in names:
            raise BodyMalformed(reason=f"it has the member {_shown(name)} twice")
        names.remove(name)


def _whole(number: str) -> str:
    """Refuse what would become a fraction, and no longer be what was sent."""
    if len(number) > LONGEST_INTEGER or not LEAST <= int(number) <= MOST:
        raise BodyMalformed(reason=f"the integer {number[:LONGEST_INTEGER]} has more than 64 bits")
    return number


# Only for names and sizes: numbers stay the texts that they are.
_NAMES = json.JSONDecoder(object_pairs_hook=_once_each, parse_int=_whole, parse_float=str)


def _shown(name: str) -> str:
    """A member's name as JSON, since it may hold anything."""
    return json.dumps(name[:LONGEST_NAME_SHOWN])


def _check(value: Any, levels: int) -> None:
    """Refuse what PostgreSQL can't keep (NUL), and what would exhaust a recursion."""
    if isinstance(value, str):
        if "\0" in value:
            raise BodyMalformed(reason="it holds a NUL character")
        return
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    if not isinstance(parts, list):
        return
    if levels == 0:
        raise BodyMalformed(reason=f"it is nested deeper than {DEEPEST} levels")
    for part in parts:
        _check(part, levels - 1)
