"""The only place for the pages of the ledger: searching, proving and verifying it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit import bundles, events, proofs, queries
from audit.errors import Problem
from audit.queries import Inclusion, NotPublished
from audit.verify import checks, layout
from console import columns, names, narrowing, pages, sentences
from console.entrance import enters
from console.narrowing import Narrowing
from console.pages import MemberRequest
from runtime import ledgers, saved_views
from runtime.models import Agent

VIEWS_SHOWN = 20


@enters("ledger")
def index(request: MemberRequest) -> HttpResponse:
    """Every entry, newest first, by what an address asks for, with a chart of when they came."""
    now = timezone.now()
    asked, wrong = narrowing.asked(request)
    rows = ledgers.entries(principal=request.principal, **asked.filters(now))
    known, page = names.known(), pages.stretch(rows.none() if wrong else rows, request)
    context = {
        "page": page,
        # What is empty is not looked through twice.
        "chart": columns.chart(rows, asked, now=now) if page.rows else None,
        "asked": asked,
        "wrong": wrong,
        "chips": asked.chips(known),
        "views": _views(asked, request),
        "halts": ledgers.halts(principal=request.principal),
        "reconciled": ledgers.reconciled(principal=request.principal),
        "names": known,
        **choices(known),
    }
    return pages.show(request, "ledger/list", context, status=422 if wrong else 200)


def _views(asked: Narrowing, request: MemberRequest) -> list[dict[str, Any]]:
    """The saved views, as links; `is_here` marks that which the address asks for."""
    rows = saved_views.seen_by(request.principal)[:VIEWS_SHOWN]
    read = [(row, narrowing.read(row.filters)[0]) for row in rows]
    return [
        {"name": row.name, "shared": row.shared, "query": each.query, "is_here": each == asked}
        for row, each in read
    ]


def choices(known: dict[str, str]) -> dict[str, Any]:
    """What the filters' fields offer: kinds by their nouns, actors, agents and lengths of time."""
    kinds: dict[str, list[str]] = {}
    for kind in sorted(events.registry()):
        kinds.setdefault(kind.partition(".")[0], []).append(kind)
    return {
        "kinds": kinds,
        "actors": sorted(known.items(), key=lambda each: each[1].casefold()),
        "agents": Agent.objects.order_by("slug").values_list("slug", flat=True),
        "lengths": {key: title for key, (title, _) in narrowing.WITHIN.items()},
    }


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
        "explains": row.kind == "intent.decided" or bool(row.event.get("decision")),
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
    """What is hashed, what shows that it is in the tree, and whether it does."""
    root, leaf = layout.root_in(inclusion.checkpoint.note), proofs.leaf_hash(inclusion.leaf)
    holds = proofs.verify_inclusion(
        leaf, inclusion.index, inclusion.checkpoint.size, inclusion.path, bytes.fromhex(root)
    )
    return {
        "inclusion": inclusion,
        "canonical": inclusion.leaf.decode(),
        "hash": leaf.hex(),
        "root": root,
        "holds": holds,
    }


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
