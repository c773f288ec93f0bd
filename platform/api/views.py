"""The only place for what all views of the API have in common: in, one call, out."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from api.authentication import PrincipalRequest
from api.pagination import ByCursor
from api.shapes import Query, Shape, of_the_query
from audit.errors import Problem

Shown = type[BaseSerializer[Any]]


class LengthRequired(Problem):
    """Send the body with a Content-Length."""

    code = "length_required"
    status = 411


class ApiView(APIView):
    """A view for a principal: `request.user` is one."""

    request: PrincipalRequest
    pagination_class = ByCursor

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Before a handler runs. Raises LengthRequired, and what authentication raises."""
        if request.headers.get("Transfer-Encoding") and not request.headers.get("Content-Length"):
            raise LengthRequired  # DRF would take the body for an empty one
        super().initial(request, *args, **kwargs)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        """No answer is for a cache: each is for its principal, and some hold secrets."""
        response.headers.setdefault("Cache-Control", "no-store")
        return super().finalize_response(request, response, *args, **kwargs)

    def sent(self, shape: type[Shape]) -> dict[str, Any]:
        """The body's values. Raises ValidationError."""
        made = shape(data=self.request.data)
        made.is_valid(raise_exception=True)
        return dict(made.validated_data)

    def asked(self, shape: type[Query] = Query) -> dict[str, Any]:
        """The query's filters. Raises ValidationError."""
        made = shape(data=self.request.query_params.dict())
        with of_the_query():
            made.is_valid(raise_exception=True)
        return made.filters()

    def page(self, rows: QuerySet[Any], shown: Shown) -> Response:
        """One page of `rows`. Raises CursorMalformed."""
        paginator = self.pagination_class()
        found = paginator.paginate_queryset(rows, self.request, view=self)
        return paginator.get_paginated_response(shown(found, many=True).data)


def created(shown: BaseSerializer[Any], view_name: str, *where: Any) -> Response:
    """201 with the address of what was made."""
    return Response(shown.data, status=201, headers={"Location": address(view_name, *where)})


def address(view_name: str, *where: Any) -> str:
    """The path of a resource of the API."""
    return reverse(f"api:{view_name}", args=where)
