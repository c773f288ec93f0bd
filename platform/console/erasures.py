"""The only place for the page of erasure: requests, approvals, legal holds and retention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.errors import Problem
from audit.retention import FLOOR_MONTHS
from console import names, pages
from console.entrance import enters
from console.pages import MemberRequest
from runtime import erasing, holding, retaining
from runtime.retaining import RetentionInvalid

HOLDS_SHOWN = 50


@enters("erasures")
def index(request: MemberRequest) -> HttpResponse:
    """Who is to be erased, what is held, and for how long things are kept."""
    return pages.show(request, "erasures/list", _context(request))


def _context(request: MemberRequest) -> dict[str, Any]:
    by = request.principal
    return {
        "page": pages.cut(erasing.requests(principal=by), request),
        "holds": holding.told(list(holding.every(principal=by)[:HOLDS_SHOWN])),
        "rules": retaining.rules(principal=by),
        "floor": FLOOR_MONTHS,
        "names": names.known(),
    }


def _typed(request: MemberRequest, name: str) -> str:
    return request.POST.get(name, "").strip()


def _done(request: MemberRequest, act: Callable[[], str]) -> HttpResponse:
    """Back to the page with what `act` says was done, or with what is wrong and what was typed."""
    try:
        said = act()
    except Problem as problem:
        context = {**_context(request), "problem": problem, "typed": request.POST.dict()}
        return pages.show(request, "erasures/list", context, status=problem.status)
    messages.success(request, said)
    return redirect("console:erasures")


@enters("erasures", to_change=True)
@require_POST
def request_erasure(request: MemberRequest) -> HttpResponse:
    """Ask to erase a person; somebody else approves it."""

    def act() -> str:
        person, basis = _typed(request, "person"), _typed(request, "legal_basis")
        by, now = request.principal, timezone.now()
        erasing.request(person, legal_basis=basis, by=by, now=now)
        return "Somebody else has to approve it: another admin or compliance officer."

    return _done(request, act)


@enters("erasures", to_change=True)
@require_POST
def approve(request: MemberRequest, erasure: UUID) -> HttpResponse:
    """Erase the person, for ever."""
    row = erasing.access(erasure, principal=request.principal)

    def act() -> str:
        erasing.approve(row, by=request.principal, now=timezone.now())
        return "The person is erased. Every proof of the ledger still holds."

    return _done(request, act)


@enters("erasures", to_change=True)
@require_POST
def reject(request: MemberRequest, erasure: UUID) -> HttpResponse:
    """Reject or withdraw the request."""
    row = erasing.access(erasure, principal=request.principal)

    def act() -> str:
        erasing.reject(row, by=request.principal, now=timezone.now())
        return "Nobody is erased."

    return _done(request, act)


@enters("erasures", to_change=True)
@require_POST
def place_hold(request: MemberRequest) -> HttpResponse:
    """Keep a person, or the whole ledger, from erasure and retention."""

    def act() -> str:
        person = _typed(request, "held_person") or None
        holding.place(person, reason=_typed(request, "reason"), by=request.principal)
        return "The hold stands."

    return _done(request, act)


@enters("erasures", to_change=True)
@require_POST
def release_hold(request: MemberRequest, hold: UUID) -> HttpResponse:
    """End a legal hold."""
    row = holding.access(hold, principal=request.principal)

    def act() -> str:
        holding.release(row, reason=_typed(request, "reason"), by=request.principal)
        return "The hold is released."

    return _done(request, act)


@enters("erasures", to_change=True)
@require_POST
def set_retention(request: MemberRequest) -> HttpResponse:
    """Replace the rules: a line each, how the kind begins and the months."""

    def act() -> str:
        retaining.set_rules(_rules(_typed(request, "rules")), by=request.principal)
        return "The retention is changed. It is applied every night."

    return _done(request, act)


def _rules(text: str) -> dict[str, int]:
    rules: dict[str, int] = {}
    for line in filter(str.strip, text.splitlines()):
        kind, _, months = line.strip().partition(" ")
        if kind in rules or not months.strip().isdecimal() or not months.isascii():
            raise RetentionInvalid(reason="write a line for each kind: run. 24")
        rules[kind] = int(months)
    return rules
