"""The only place for the pages that take the ledger out: choose, see how much, watch, download."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import FileResponse, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit import outside, queries
from console import ledger, names, narrowing, pages
from console.entrance import enters
from console.narrowing import Narrowing
from console.pages import MemberRequest
from runtime import exports, ledgers
from runtime.models import ExportState, LedgerExport

MOST_COUNTED = 1_000_000
FAILURES = {
    "not_published": "The ledger had no checkpoint yet. Ask again in a moment.",
    "not_permitted": "Whoever asked for it was no auditor or admin any more when it was made.",
    "export_abandoned": "It failed again and again. Somebody has to look at the worker's log.",
}
"""What became of an export, by the code that it failed with."""


@enters("ledger")
def index(request: MemberRequest) -> HttpResponse:
    """Choose what a bundle is about, see how many entries that are, and begin; and past ones."""
    return pages.show(request, "exports/list", _context(request))


def _context(request: MemberRequest) -> dict[str, Any]:
    now, known = timezone.now(), names.known()
    typed, wrong = narrowing.asked(request)
    asked, left_out = _exportable(typed)
    rows = ledgers.entries(principal=request.principal, **asked.filters(now))
    checkpoint = queries.status().checkpoint
    return {
        "asked": asked,
        "wrong": wrong,
        "left_out": left_out,
        "chips": asked.chips(known),
        "count": 0 if wrong else rows[:MOST_COUNTED].count(),
        "most": MOST_COUNTED,
        "size": checkpoint.size if checkpoint else 0,
        "page": pages.cut(exports.asked_for(principal=request.principal), request),
        "names": known,
        **ledger.choices(known),
    }


def _exportable(asked: Narrowing) -> tuple[Narrowing, list[str]]:
    """What an export can be narrowed to, and what of it is left out, in sentences."""
    left_out = []
    if asked.text or asked.person:
        left_out.append(
            "Words and persons are left out: an auditor could not run such a filter again on the"
            " headers alone."
        )
    if asked.actor and asked.agent and asked.actor != asked.agent:
        left_out.append("An entry has one actor: the agent is left out.")
    return narrowing.for_export(asked), left_out


@enters("ledger")
@require_POST
def begin(request: MemberRequest) -> HttpResponse:
    """Have a bundle made of what the address asks for, and go to where its progress is shown."""
    typed, wrong = narrowing.asked(request)
    if wrong:
        return pages.show(request, "exports/list", _context(request), status=422)
    asked, _ = _exportable(typed)
    now = timezone.now()
    with_bodies = request.POST.get("bodies") != "none"
    selection = asked.selection(now)
    row = exports.ask(selection, with_bodies=with_bodies, by=request.principal, now=now)
    return redirect("console:export", row.pk)


@enters("ledger")
def detail(request: MemberRequest, export: UUID) -> HttpResponse:
    """How far an export is; live until it is ready, and then how to fetch and verify it."""
    row = exports.access(export, principal=request.principal)
    asked, _ = narrowing.read(row.filter)
    context = {
        "export": row,
        "is_over": row.state in {ExportState.READY, ExportState.FAILED},
        "chips": asked.chips(names.known()),
        "again": asked.query,
        "failure": FAILURES.get(row.failure or "", ""),
        "expires_at": row.created_at + exports.LIFE,
        "file": _file_name(row, request),
        "key": (outside.verifier_keys() or [""])[-1],
    }
    if "HX-Request" not in request.headers:
        return pages.show(request, "exports/detail", context)
    return pages.part(request, "exports/_job", context)


@enters("ledger")
def download(request: MemberRequest, export: UUID) -> HttpResponseBase:
    """The bundle. That it was taken out was recorded when it became ready."""
    row = exports.access(export, principal=request.principal)
    file = exports.bundle_of(row)
    name = _file_name(row, request)
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/zstd")


def _file_name(row: LedgerExport, request: MemberRequest) -> str:
    return f"ledger-{request.principal.tenant}-{row.created_at:%Y%m%dT%H%M%SZ}.tar.zst"
