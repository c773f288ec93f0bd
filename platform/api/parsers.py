"""The only place that reads the bodies of requests: strict JSON, and uploads, both bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.conf import settings
from rest_framework import parsers

from audit.errors import Problem

DEEPEST = 64
LONGEST_JSON = 2 * 1024 * 1024


class BodyMalformed(Problem):
    """The request's body is not usable: {reason}."""

    code = "body_malformed"
    status = 400


class BodyTooLarge(Problem):
    """The request's body may have at most {limit} bytes."""

    code = "body_too_large"
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
        """The value. Raises BodyMalformed, BodyTooLarge."""
        data = stream.read(LONGEST_JSON + 1)
        if len(data) > LONGEST_JSON:
            raise BodyTooLarge(limit=LONGEST_JSON)
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError as problem:
            raise BodyMalformed(reason=f"it is no JSON: {problem}") from None
        _check(value, DEEPEST)
        return value


class Upload(parsers.MultiPartParser):
    """multipart/form-data, at most as large as the largest document and its frame."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The fields and files. Raises BodyTooLarge, ParseError."""
        # Django bounds the fields, and would spool files of any size.
        length = parser_context["request"].META.get("CONTENT_LENGTH") if parser_context else None
        if not str(length or "").isdecimal() or int(length or 0) > settings.MAX_BODY_BYTES:
            raise BodyTooLarge(limit=settings.MAX_BODY_BYTES)
        return super().parse(stream, media_type, parser_context)


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
