"""The only place that cuts lists into pages: by cursor, newest first."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class ByCursor(CursorPagination):
    """`?cursor=` walks a list that may grow meanwhile; `?page_size=` is at most 200."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-id")
