"""The only place for the pages of streams: where the ledger is sent, and how far each one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.errors import Problem
from console import once, pages
from console.entrance import enters
from console.once import FormStale, FormUsedAlready
from console.pages import MemberRequest
from runtime import streams
from runtime.models import Stream, StreamKind


@enters("streams")
def index(request: MemberRequest) -> HttpResponse:
    """Every stream with what it has to catch up on, and why it does not."""
    return pages.show(request, "streams/list", _context(request))


def _context(request: MemberRequest) -> dict[str, Any]:
    page = pages.cut(streams.every(principal=request.principal), request)
    return {
        "page": page,
        "rows": [(row, streams.lag(row)) for row in page.rows],
        "kinds": StreamKind.choices,
    }


def _typed(request: MemberRequest, name: str) -> str:
    return request.POST.get(name, "").replace("\0", "").strip()


@enters("streams")
def detail(request: MemberRequest, stream: str) -> HttpResponse:
    """One stream: how far it is, and for an admin what may be done with it."""
    row = streams.access(stream, principal=request.principal)
    context = {"stream": row, "lag": streams.lag(row)}
    return pages.show(request, "streams/detail", context)


def _done(request: MemberRequest, stream: Stream, act: Callable[[], str]) -> HttpResponse:
    """Back to the stream with what `act` says was done, or with what is wrong."""
    try:
        said = act()
    except Problem as problem:
        row = streams.access(stream.slug, principal=request.principal)  # as it is, not as wished
        typed = {"lag": streams.lag(row), "typed": request.POST.dict()}
        context = {"stream": row, "problem": problem, **typed}
        return pages.show(request, "streams/detail", context, status=problem.status)
    messages.success(request, said)
    return redirect("console:stream", stream.slug)


@enters("streams", to_change=True)
@require_POST
def create(request: MemberRequest) -> HttpResponse:
    """A new stream; a webhook's secret is on the page that follows, and never again."""
    try:
        made, secret = streams.create(
            _typed(request, "slug"),
            kind=_typed(request, "kind"),
            address=_typed(request, "address"),
            authority=_typed(request, "authority"),
            selection=_typed(request, "selection"),
            cursor=0 if _typed(request, "since") == "beginning" else None,
            by=request.principal,
            now=timezone.now(),
        )
    except Problem as problem:
        context = {**_context(request), "problem": problem, "typed": request.POST.dict()}
        return pages.show(request, "streams/list", context, status=problem.status)
    if secret:
        return pages.show(request, "streams/secret", {"stream": made, "secret": secret})
    messages.success(request, f"The ledger is sent to {made.slug}.")
    return redirect("console:stream", made.slug)


@enters("streams", to_change=True)
@require_POST
def change(request: MemberRequest, stream: str) -> HttpResponse:
    """Another address, authority or selection."""
    row = streams.access(stream, principal=request.principal)

    def act() -> str:
        names = ("address", "authority", "selection")
        streams.change(row, by=request.principal, **{name: _typed(request, name) for name in names})
        return f"The stream {row.slug} is changed."

    return _done(request, row, act)


@enters("streams", to_change=True)
@require_POST
def switch(request: MemberRequest, stream: str) -> HttpResponse:
    """Stop sending, or go on where it stopped."""
    row = streams.access(stream, principal=request.principal)
    wanted = _typed(request, "enabled") == "1"

    def act() -> str:
        streams.change(row, by=request.principal, enabled=wanted)
        went_on = "goes on where it stopped" if wanted else "is stopped, and its cursor stays"
        return f"The stream {row.slug} {went_on}."

    return _done(request, row, act)


@enters("streams", to_change=True)
@require_POST
def test(request: MemberRequest, stream: str) -> HttpResponse:
    """Send a message without entries, and say what happened."""
    row = streams.access(stream, principal=request.principal)

    def act() -> str:
        problem = streams.test(row, by=request.principal, now=timezone.now())
        if problem is not None:
            raise problem
        return f"The receiver of {row.slug} took a test message."

    return _done(request, row, act)


@enters("streams", to_change=True)
@require_POST
def rotate(request: MemberRequest, stream: str) -> HttpResponse:
    """Another secret, shown this once; to load its page again makes no third one."""
    row = streams.access(stream, principal=request.principal)
    try:
        with transaction.atomic():
            once.use(request)
            secret = streams.rotate(row, by=request.principal, now=timezone.now())
    except (FormUsedAlready, FormStale) as problem:
        context = {"stream": row, "lag": streams.lag(row), "problem": problem}
        return pages.show(request, "streams/detail", context, status=problem.status)
    return pages.show(request, "streams/secret", {"stream": row, "secret": secret})


@enters("streams", to_change=True)
@require_POST
def remove(request: MemberRequest, stream: str) -> HttpResponse:
    """End a stream and destroy its secret."""
    row = streams.access(stream, principal=request.principal)

    streams.remove(row, by=request.principal)
    messages.success(request, f"The stream {row.slug} is gone.")
    return redirect("console:streams")
