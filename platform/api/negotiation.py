"""The only place that chooses how a body is read and an answer is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class AlwaysTheFirst(BaseContentNegotiation):
    """Answers are JSON, whatever `Accept` says; event streams are chosen before DRF is asked."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any | None:
        """The parser of the body's media type, or None (415)."""
        sent = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """The view's first renderer."""
        first = next(iter(renderers))
        return first, first.media_type
