"""The only place that chooses how a body is read and an answer is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
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


class TlogProof(BaseRenderer):
    """A proof as text (C2SP tlog-proof). A problem stays what it is: JSON."""

    media_type = "text/plain"
    format = "tlog-proof"
    charset = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The answer's bytes."""
        return data.encode() if isinstance(data, str) else bytes(JSONRenderer().render(data))


class AsAsked(AlwaysTheFirst):
    """The view's renderer that `?format=` names or, without it, `Accept` names first.

    Whoever names none of them gets the first one: nobody is sent away.
    """

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """The renderer, and its media type."""
        offered = list(renderers)
        named = request.query_params.get("format")
        accepted = [
            part.partition(";")[0].strip().lower()
            for part in request.headers.get("Accept", "").split(",")
        ]
        by_format = [made for made in offered if made.format == named]
        by_type = [made for wanted in accepted for made in offered if made.media_type == wanted]
        first = (by_format if named else by_type or offered)[:1] or offered
        return first[0], first[0].media_type
