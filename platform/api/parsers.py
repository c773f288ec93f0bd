"""The only place that reads JSON bodies: strictly, and bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework import parsers

from audit.errors import Problem

DEEPEST = 64
LONGEST_JSON = 2 * 1024 * 1024


class JSONMalformed(Problem):
    """The request's body is not usable: {reason}."""

    code = "json_malformed"
    status = 400


class JSONTooLarge(Problem):
    """A body of JSON may have at most {limit} bytes."""

    code = "json_too_large"
    status = 413


class StrictJSON(parsers.BaseParser):
    """RFC 8259 JSON in UTF-8: no NaN, no NUL characters, at most 2 MB and 64 levels deep."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The value. Raises JSONMalformed, JSONTooLarge."""
        data = stream.read(LONGEST_JSON + 1)
        if len(data) > LONGEST_JSON:
            raise JSONTooLarge(limit=LONGEST_JSON)
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError as problem:
            raise JSONMalformed(reason=f"it is no JSON: {problem}") from None
        _check(value, DEEPEST)
        return value


def _check(value: Any, levels: int) -> None:
    """Refuse what PostgreSQL can't keep (NUL), and what would exhaust a recursion."""
    if isinstance(value, str):
        if "\0" in value:
            raise JSONMalformed(reason="it holds a NUL character")
        return
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    if not isinstance(parts, list):
        return
    if levels == 0:
        raise JSONMalformed(reason=f"it is nested deeper than {DEEPEST} levels")
    for part in parts:
        _check(part, levels - 1)
