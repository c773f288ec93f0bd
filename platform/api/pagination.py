"""The only place that cuts lists into pages: by cursor, newest first."""

from __future__ import annotations

import base64
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from audit.errors import Problem


class CursorMalformed(Problem):
    """The cursor was not made here: take it from `next` or `previous` of a page."""

    code = "cursor_malformed"
    status = 422


class ByCursor(CursorPagination):
    """`?cursor=` walks a list that may grow meanwhile; `?page_size=` is at most 200.

    Ids are UUIDv7, so their order is that of creation, and no two are alike.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering = ("-id",)

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        """The page's rows. Raises CursorMalformed."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError, DataError):
            raise CursorMalformed from None

    def decode_cursor(self, request: Request) -> Any:
        """The position that `?cursor=` names, or None. Raises CursorMalformed."""
        try:
            # Django's own decoder skips what is not base64, and would begin anew.
            base64.b64decode(request.query_params.get("cursor", ""), validate=True)
            return super().decode_cursor(request)
        except (NotFound, ValueError):
            raise CursorMalformed from None


class ByNumber(ByCursor):
    """The same for rows that are numbered, first to last."""

    ordering = ("number",)


class ByNumberDown(ByCursor):
    """The same for rows that are numbered, last to first."""

    ordering = ("-number",)


class ByVersion(ByCursor):
    """The same for versions, last to first."""

    ordering = ("-version",)
