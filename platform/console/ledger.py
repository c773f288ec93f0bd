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

from audit import bundles, events, proofs, queries
from audit.errors import Problem
from audit.queries import Inclusion, NotPublished
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
        "kinds": sorted(events.registry()),
        "groups": sorted({kind.partition(".")[0] for kind in events.registry()}),
        "status": queries.status(),
        "names": names.known(),
    }
    return pages.show(request, "ledger/list", context)


def _midnight(text: str, *, days: int = 0) -> datetime | None:
    """The beginning of a day in UTC, or None where the text is no day."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime.combine(day, time(), tzinfo=UTC) + timedelta(days=days)


@enters("ledger")
def entry(request: MemberRequest, entry: UUID) -> HttpResponse:
    """One entry with its canonical JSON, its leaf's hash and its proof. Looking is recorded."""
    row = ledgers.access_entry(entry, principal=request.principal)
    ledgers.view(row, by=request.principal)
    leaf = row.leaf_bytes(queries.own_log().origin)
    context = {
        "entry": row,
        "names": names.known(),
        "canonical": leaf.decode(),
        "pretty": sentences.as_json(row.event),
        "about": _about(row.kind),
        "hash": proofs.leaf_hash(leaf).hex(),
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
    return {"inclusion": inclusion, "root": root, "holds": holds}


@enters("ledger")
@require_POST
def verify(request: MemberRequest) -> HttpResponse:
    """Run the verifier that auditors run, on a fresh bundle, and show each check."""
    context: dict[str, Any] = {"status": queries.status(), "names": names.known()}
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        try:
            bundles.export(Path(folder) / "bundle", now=timezone.now())
        except Problem as problem:
            context["problem"] = problem
            return pages.show(request, "ledger/verify", context, status=problem.status)
        context["report"] = checks.verify(Path(folder) / "bundle")
    return pages.show(request, "ledger/verify", context)


@enters("ledger")
@require_POST
def export(request: MemberRequest) -> HttpResponseBase:
    """The whole ledger as a bundle that verifies without us. Taking it out is recorded."""
    now = timezone.now()
    file = tempfile.TemporaryFile(prefix="export-")  # noqa: SIM115 (the answer closes it)
    try:
        ledgers.export(file, by=request.principal, now=now)
    except Problem as problem:
        file.close()
        messages.error(request, str(problem))
        return redirect("console:ledger")
    file.seek(0)
    name = f"{request.principal.tenant}-ledger-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/gzip")
