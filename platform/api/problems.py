"""The only place that turns problems into answers: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from api import shapes
from api.connections import DATABASE_AWAY, DatabaseUnavailable
from audit.errors import Problem

MEDIA_TYPE = "application/problem+json"
CHALLENGE = 'Bearer realm="countersign"'
PREFIX = "/api/"


def as_response(problem: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler. An exception that is nobody's condition stays a 500."""
    known = body_of(problem)
    if known is None:
        return None
    response = Response(known, status=known["status"], content_type=MEDIA_TYPE)
    if known["status"] == 401:
        response["WWW-Authenticate"] = CHALLENGE
    if isinstance(problem, exceptions.MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def body_of(problem: Exception) -> dict[str, Any] | None:
    """The problem as RFC 9457 members with our `code`; None for what is not a known condition.

    A Problem of status 500 is a defect, whose message is for the log.
    """
    if isinstance(problem, Problem):
        known = body(problem.status, problem.code, str(problem), problem.details)
        return known if problem.status != 500 else None
    if isinstance(problem, exceptions.ValidationError):
        is_query = isinstance(problem, shapes.QueryInvalid)
        errors = (shapes.by_parameter if is_query else shapes.flattened)(problem.detail)
        return body(422, "invalid", "The request does not fit; see errors.", {"errors": errors})
    return _of_a_framework(problem)


def _of_a_framework(problem: Exception) -> dict[str, Any] | None:
    """What Django and DRF raise, in our words where theirs would show too much."""
    if isinstance(problem, DATABASE_AWAY):
        return body_of(DatabaseUnavailable())
    if isinstance(problem, RequestDataTooBig):
        return body(413, "form_too_large", "The form's fields are too large.")
    if isinstance(problem, Http404):
        return body(404, "not_found", "There is nothing at this address.")
    if isinstance(problem, exceptions.ParseError | MultiPartParserError):
        return body(400, "form_malformed", "The form can't be read.")
    if isinstance(problem, exceptions.APIException):
        code = str(getattr(problem, "default_code", "invalid"))
        return body(problem.status_code, code, str(problem.detail))
    return None


def body(
    status: int, code: str, detail: str, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The members of a problem: type, title, status, detail, code, and what else is known."""
    return {
        **(more or {}),
        "type": f"urn:countersign:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler for addresses that nothing is at."""
    if not request.path.startswith(PREFIX):
        return defaults.page_not_found(request, exception)
    return _json(body_of(exception) or body(404, "not_found", "There is nothing at this address."))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler for requests that it will not pass on."""
    if not request.path.startswith(PREFIX):
        return defaults.bad_request(request, exception)
    return _json(body_of(exception) or body(400, "bad_request", "The request is malformed."))


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler for what nobody handled: a database that is away, in a middleware too, and
    defects. Of those it tells nothing; the log does.
    """
    if isinstance(sys.exception(), DATABASE_AWAY):
        return _database_unavailable(request)
    if not request.path.startswith(PREFIX):
        return defaults.server_error(request)
    return _json(body(500, "server_error", "Something went wrong here, and was logged."))


def _database_unavailable(request: HttpRequest) -> HttpResponse:
    """As whoever asks reads it: a program, a person."""
    problem = DatabaseUnavailable()
    if request.path.startswith(PREFIX):
        return _json(body(problem.status, problem.code, str(problem)))
    return HttpResponse(
        str(problem), status=HTTPStatus.SERVICE_UNAVAILABLE, content_type="text/plain"
    )


def _json(members: dict[str, Any]) -> JsonResponse:
    return JsonResponse(members, status=members["status"], content_type=MEDIA_TYPE)
