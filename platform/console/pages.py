"""The only place that fills a page of the console: its frame, its lists, its problems."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from audit.errors import Problem
from console import rooms
from governance import queries as governance_queries
from tenants import isolation
from tenants.principals import Principal

PAGE_SIZE = 50
DEEPEST_PAGE = 10_000

M = TypeVar("M", bound=Model)


class FilterUnknown(Problem):
    """Nothing is listed: {filter} can't be {value}. It is one of {known}."""

    code = "filter_unknown"
    status = 422


class MemberRequest(HttpRequest):
    """A request of somebody who signed in on this tenant's host."""

    principal: Principal


class Page(msgspec.Struct, Generic[M], frozen=True):
    """A part of a list: its rows, its number from 1, and whether there are more."""

    rows: list[M]
    number: int
    has_more: bool

    @property
    def previous(self) -> int | None:
        """The number of the page before, or None."""
        return self.number - 1 if self.number > 1 else None

    @property
    def following(self) -> int | None:
        """The number of the page after, or None."""
        return self.number + 1 if self.has_more else None


def cut(rows: QuerySet[M], request: HttpRequest, *, size: int = PAGE_SIZE) -> Page[M]:
    """The part of `rows` that `?page=` names. One query: a long list is never counted."""
    number = _number(request.GET.get("page", ""))
    first = (number - 1) * size
    found = list(rows[first : first + size + 1])
    return Page(found[:size], number, len(found) > size)


def _number(text: str) -> int:
    return min(int(text), DEEPEST_PAGE) if text.isascii() and text.isdecimal() and int(text) else 1


class Stretch(msgspec.Struct, Generic[M], frozen=True):
    """A part of a list that may grow meanwhile: its rows, and the ids beyond which more are."""

    rows: list[M]
    newer: UUID | None
    older: UUID | None


def stretch(rows: QuerySet[M], request: HttpRequest, *, size: int = PAGE_SIZE) -> Stretch[M]:
    """The part of `rows`, newest first by their UUIDv7, beyond `?older=` or `?newer=`.

    As quick at the end of a list as at its beginning, and no row is skipped or shown twice.
    """
    older, newer = asked_id(request, "older"), asked_id(request, "newer")
    if newer is not None:
        found = list(rows.filter(pk__gt=newer).order_by("pk")[: size + 1])
        if len(found) > size:
            shown = found[:size][::-1]
            return Stretch(shown, shown[0].pk, shown[-1].pk)
        older = None  # nothing lies between: it is the beginning of the list
    beyond = rows if older is None else rows.filter(pk__lt=older)
    found = list(beyond[: size + 1])
    first = found[0].pk if found else older
    last = found[size - 1].pk if len(found) > size else None
    return Stretch(found[:size], first if older else None, last)


def asked(request: HttpRequest, name: str) -> str:
    """A filter of a list as it was typed, without the blanks around it; PostgreSQL can keep it."""
    return request.GET.get(name, "").replace("\0", "").strip()[:500]


def asked_id(request: HttpRequest, name: str) -> UUID | None:
    """A filter of a list that is an id; what is none filters nothing."""
    try:
        return UUID(asked(request, name))
    except ValueError:
        return None


def misfit(request: HttpRequest, known: Mapping[str, Collection[str]]) -> FilterUnknown | None:
    """What is wrong with the first filter that is none of its `known` values; None where all fit.

    A list MUST NOT leave such a filter out: its rows would pass for what was asked for.
    """
    for name, values in known.items():
        value = asked(request, name)
        if value and value not in values:
            return FilterUnknown(filter=name, value=value, known=", ".join(values))
    return None


def show(
    request: MemberRequest, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """The page `template` ("runs/list") in the frame of the console."""
    principal = request.principal
    waiting = 0
    if rooms.named("approvals").is_kept_by(principal):
        waiting = governance_queries.votable(principal=principal).count()
    frame = {
        "tenant": isolation.current(),
        "principal": principal,
        "rooms": rooms.open_to(principal),
        "waiting": waiting,
        "here": template.partition("/")[0],
    }
    return render(request, f"console/{template}.html", {**frame, **context}, status=status)


def part(request: MemberRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """A part of a page, without the frame, for what refreshes itself."""
    return render(request, f"console/{template}.html", {"principal": request.principal, **context})


def unchanged() -> HttpResponse:
    """What a part that refreshes itself gets when there is nothing new: htmx then swaps nothing."""
    return HttpResponse(status=204)


def problem(request: MemberRequest, raised: Problem) -> HttpResponse:
    """A page that says what went wrong; the status is the problem's own."""
    return show(request, "problem/page", {"problem": raised}, status=raised.status)
