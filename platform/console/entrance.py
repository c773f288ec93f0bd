"""The only place where a request of the console gets its principal, or is sent to sign in."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from http import HTTPStatus
from typing import Concatenate, ParamSpec, cast
from urllib.parse import urlencode

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache

from audit.errors import Problem
from console import pages, rooms
from console.pages import MemberRequest
from tenants import members
from tenants.principals import Principal

P = ParamSpec("P")


def enters(
    room: str, *, to_change: bool = False
) -> Callable[
    [Callable[Concatenate[MemberRequest, P], HttpResponseBase]],
    Callable[Concatenate[HttpRequest, P], HttpResponseBase],
]:
    """Make a view of `room`: it runs for members with a fitting role, and for nobody else.

    1. Without a member, the way leads to the sign-in page. 2. A role that does not fit gets a page
    with 403. 3. A problem that the view does not handle itself becomes a page with its status.
    """

    def decorate(
        view: Callable[Concatenate[MemberRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @never_cache
        def entered(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            member = _member(request)
            if member is None:
                return _to_sign_in(request)
            entered_by = cast("MemberRequest", request)
            entered_by.principal = member
            try:
                rooms.named(room).check(member, to_change=to_change)
                return view(entered_by, *args, **kwargs)
            except Problem as problem:
                return pages.problem(entered_by, problem)

        update_wrapper(entered, view)
        return entered

    return decorate


def _member(request: HttpRequest) -> Principal | None:
    if not request.user.is_authenticated:
        return None
    member = members.principal_of(request.user.pk)
    return msgspec.structs.replace(member, means="session") if member else None


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    if "HX-Request" in request.headers:  # a live part of a page whose session ended
        answer = HttpResponse(status=HTTPStatus.UNAUTHORIZED)
        answer["HX-Refresh"] = "true"
        return answer
    wanted = urlencode({"next": request.get_full_path()})
    return HttpResponseRedirect(f"{settings.LOGIN_URL}?{wanted}")
