"""The only place for the pages of the ledger: searching, proving, verifying and exporting it."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import FileResponse, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit import bundles, events, outside, proofs, queries
from audit.errors import Problem
from audit.queries import Inclusion, NotPublished
from audit.recoveries import RecoveryApprovedAlready
from audit.selections import Selection, is_in_range
from audit.verify import checks, layout
from console import names, pages, sentences
from console.entrance import enters
from console.pages import MemberRequest
from runtime import ledgers


@enters("ledger")
def index(request: MemberRequest) -> HttpResponse:
    """Every entry, newest first, by kind, actor, run, day and words of what happened."""
    names_ = ("kind", "actor", "run", "q", "from", "until")
    chosen = {name: pages.asked(request, name) for name in names_}
    rows = ledgers.entries(
        principal=request.principal,
        kind=chosen["kind"] or None,
        actor=chosen["actor"] or None,
        correlation=pages.asked_id(request, "run"),
        text=chosen["q"] or None,
        after=_midnight(chosen["from"]),
        before=_midnight(chosen["until"], days=1),
    )
    context = {
        "page": pages.cut(rows, request),
        "chosen": chosen,
        "narrowed": bool(_selection(request).as_json()),
        "kinds": sorted(events.registry()),
        "groups": sorted({kind.partition(".")[0] for kind in events.registry()}),
        "status": queries.status(),
        "outside": _outside(),
        "halts": ledgers.halts(principal=request.principal),
        "reconciled": ledgers.reconciled(principal=request.principal),
        "names": names.known(),
    }
    return pages.show(request, "ledger/list", context)


PLACES = {"cosignature": "A witness", "timestamp": "A timestamping authority", "sink": "A sink"}


def _outside() -> dict[str, Any] | None:
    """The newest checkpoint that somebody else vouches for: who, how many entries, since when."""
    found = outside.newest()
    if found is None:
        return None
    who, since = PLACES.get(found["kind"], found["kind"]), datetime.fromisoformat(found["at"])
    return {"who": who, "size": found["size"], "since": since}


def _midnight(text: str, *, days: int = 0) -> datetime | None:
    """The beginning of a day in UTC, or None where the text is no day that an entry can be of."""
    try:
        day = datetime.combine(date.fromisoformat(text), time(), tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return day if is_in_range(day) else None


@enters("ledger")
def entry(request: MemberRequest, entry: UUID) -> HttpResponse:
    """One entry with its canonical JSON, its leaf's hash and its proof. Looking is recorded."""
    row = ledgers.access_entry(entry, principal=request.principal)
    ledgers.view(row, by=request.principal)
    context = {
        "entry": row,
        "names": names.known(),
        "pretty": sentences.as_json(row.event),
        "about": _about(row.kind),
    }
    try:
        context |= _proof(queries.inclusion(row))
    except NotPublished as problem:
        context["not_published"] = problem
    return pages.show(request, "ledger/entry", context)


def _about(kind: str) -> str:
    """What a kind of entry means, from its own documentation."""
    known = events.registry().get(kind)
    return (known.__doc__ or "").replace("`", "") if known else ""


def _proof(inclusion: Inclusion) -> dict[str, Any]:
    """What shows that an entry is in the tree, and whether it does."""
    root = layout.root_in(inclusion.checkpoint.note)
    holds = proofs.verify_inclusion(
        proofs.leaf_hash(inclusion.leaf),
        inclusion.index,
        inclusion.checkpoint.size,
        inclusion.path,
        bytes.fromhex(root),
    )
    return {
        "inclusion": inclusion,
        "canonical": inclusion.leaf.decode(),
        "hash": proofs.leaf_hash(inclusion.leaf).hex(),
        "root": root,
        "holds": holds,
    }


@enters("ledger")
@require_POST
def approve_recovery(request: MemberRequest, halt: UUID) -> HttpResponse:
    """Let a halted ledger go on without what it lost; it takes two people."""
    try:
        missing = ledgers.approve_recovery(halt, by=request.principal)
    except RecoveryApprovedAlready as problem:
        messages.error(request, str(problem))
        return redirect("console:ledger")
    rest = "The ledger goes on." if missing == 0 else "One more person has to approve it."
    messages.success(request, f"You approved the recovery. {rest}")
    return redirect("console:ledger")


@enters("ledger")
@require_POST
def verify(request: MemberRequest) -> HttpResponse:
    """Run the verifier that auditors run, on a fresh bundle, and show each check."""
    context: dict[str, Any] = {"status": queries.status(), "names": names.known()}
    now = timezone.now()
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        try:
            bundles.export(Path(folder) / "bundle", now=now)
        except Problem as problem:
            context["problem"] = problem
            return pages.show(request, "ledger/verify", context, status=problem.status)
        context["report"] = checks.verify(Path(folder) / "bundle", now=now)
    return pages.show(request, "ledger/verify", context)


def _selection(request: MemberRequest) -> Selection:
    """What the list is narrowed to, as far as it says which entries an export is about."""
    return Selection(
        kind=pages.asked(request, "kind") or None,
        actor=pages.asked(request, "actor") or None,
        correlation=pages.asked_id(request, "run"),
        after=_midnight(pages.asked(request, "from")),
        before=_midnight(pages.asked(request, "until"), days=1),
    )


@enters("ledger")
@require_POST
def export(request: MemberRequest) -> HttpResponseBase:
    """The ledger as a bundle that verifies without us. Taking it out is recorded.

    It holds every entry's header, and the private parts of those that the list was narrowed to;
    words are no filter that an auditor could run again.
    """
    now = timezone.now()
    file = tempfile.TemporaryFile(prefix="export-")  # noqa: SIM115 (the answer closes it)
    try:
        ledgers.export(file, by=request.principal, now=now, selection=_selection(request))
    except Problem as problem:
        file.close()
        messages.error(request, str(problem))
        return redirect("console:ledger")
    file.seek(0)
    name = f"{request.principal.tenant}-ledger-{now:%Y%m%dT%H%M%SZ}.tar.zst"
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/zstd")
