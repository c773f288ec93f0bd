"""The only place that turns problems into answers: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response

from audit.errors import Problem

MEDIA_TYPE = "application/problem+json"


def as_response(problem: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. An exception that is nobody's condition stays a 500."""
    body = body_of(problem)
    if body is None:
        return None
    response = Response(body, status=body["status"], content_type=MEDIA_TYPE)
    if body["status"] == status.HTTP_401_UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="countersign"'
    return response


def body_of(problem: Exception) -> dict[str, Any] | None:
    """The problem as RFC 9457 members with our `code`; None for what is not a known condition."""
    if isinstance(problem, Problem):
        return body(problem.status, problem.code, str(problem), **problem.details)
    if isinstance(problem, RequestDataTooBig):
        return body(413, "body_too_large", "The request's body is too large.")
    if isinstance(problem, Http404):
        return body(404, "not_found", "There is nothing at this address.")
    if isinstance(problem, exceptions.ValidationError):
        return body(422, "invalid", "The request's body does not fit.", errors=problem.detail)
    if isinstance(problem, exceptions.APIException):
        code = str(getattr(problem, "default_code", "invalid"))
        return body(problem.status_code, code, str(problem.detail))
    return None


def body(status_code: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """The members of a problem: type, title, status, detail, code, and what else is known."""
    title = code.replace("_", " ").capitalize()
    known = {"type": f"urn:countersign:problem:{code}", "title": title, "status": status_code}
    return {**more, **known, "detail": detail, "code": code}


def json_response(problem: Exception) -> JsonResponse:
    """The problem as an answer outside of DRF's views. Raises `problem` if it is no condition."""
    found = body_of(problem)
    if found is None:
        raise problem
    return JsonResponse(found, status=found["status"], content_type=MEDIA_TYPE)
