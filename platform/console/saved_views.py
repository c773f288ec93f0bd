"""The only place for the pages of saved views: keeping filters of the ledger under a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.errors import Problem
from console import names, narrowing, pages
from console.entrance import enters
from console.narrowing import Chip
from console.pages import MemberRequest
from runtime import saved_views
from runtime.models import SavedView


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A saved view for a list: what it narrows to, where it leads, and whether one may change it"""

    view: Any
    chips: list[Chip]
    query: str
    may_change: bool


@enters("ledger")
def index(request: MemberRequest) -> HttpResponse:
    """One's own views and those that others share."""
    known = names.known()
    rows = saved_views.seen_by(request.principal)
    page = pages.cut(rows, request)
    context = {
        "page": page,
        "views": [_shown(row, request, known) for row in page.rows],
        "names": known,
    }
    return pages.show(request, "saved_views/list", context)


def _shown(row: SavedView, request: MemberRequest, known: dict[str, str]) -> Shown:
    asked, _ = narrowing.read(row.filters)
    return Shown(
        view=row,
        chips=asked.chips(known),
        query=asked.query,
        may_change=saved_views.may_change(row, request.principal),
    )


@enters("ledger")
@require_POST
def save(request: MemberRequest) -> HttpResponse:
    """Keep the filters of the address under the name that was typed, and go back to them."""
    asked, wrong = narrowing.asked(request)
    if wrong:
        messages.error(request, f"The view is not saved. {' '.join(wrong)}")
        return redirect(f"{reverse('console:ledger')}?{request.GET.urlencode()}")

    def act() -> str:
        row = saved_views.save(
            _typed(request),
            asked.chosen,
            shared="shared" in request.POST,
            by=request.principal,
            now=timezone.now(),
        )
        who = "Everybody who reads the ledger sees it" if row.shared else "Only you see it"
        return f"The view {row.name} is saved. {who}."

    _say(request, act)
    return redirect(f"{reverse('console:ledger')}?{asked.query}")


@enters("ledger")
@require_POST
def change(request: MemberRequest, view: UUID) -> HttpResponse:
    """Rename a view, share it or take it back."""
    row = saved_views.access(view, principal=request.principal)

    def act() -> str:
        shared = "shared" in request.POST
        saved_views.change(row, name=_typed(request), shared=shared, by=request.principal)
        return "The view is changed."

    _say(request, act)
    return redirect("console:saved_views")


@enters("ledger")
@require_POST
def remove(request: MemberRequest, view: UUID) -> HttpResponse:
    """Forget a view."""
    row = saved_views.access(view, principal=request.principal)

    def act() -> str:
        saved_views.remove(row, by=request.principal)
        return f"The view {row.name} is removed."

    _say(request, act)
    return redirect("console:saved_views")


def _typed(request: MemberRequest) -> str:
    return request.POST.get("name", "").replace("\0", "")


def _say(request: MemberRequest, act: Callable[[], str]) -> None:
    """Show what `act` says was done, or what is wrong, on the next page."""
    try:
        said = act()
    except Problem as problem:
        messages.error(request, str(problem))
    else:
        messages.success(request, said)
