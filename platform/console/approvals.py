"""The only place for the pages of approvals: the reviewer's desk."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.errors import Problem
from console import names, pages, reasons, rooms, sentences
from console.entrance import enters
from console.pages import MemberRequest
from governance import queries, verdicts, voting
from governance.models import Approval, State
from governance.policies import Verdict
from governance.voting import AuthorCannotVote, IssuerCannotVote, RequesterCannotVote
from runtime import runs, toolbox
from runtime.models import Run, Step, Tool
from tenants.principals import NotPermitted, Principal

TABS = {
    "waiting": ("Waiting", (State.PENDING,)),
    "approved": ("Approved", (State.APPROVED, State.SPENT)),
    "rejected": ("Rejected", (State.REJECTED,)),
    "over": ("Expired or cancelled", (State.EXPIRED, State.CANCELLED)),
}


@enters("approvals")
def queue(request: MemberRequest) -> HttpResponse:
    """What waits for a vote, oldest first; or what was settled, newest first."""
    problem = pages.misfit(request, {"show": TABS})
    if problem:
        raise problem
    chosen = pages.asked(request, "show") or "waiting"
    rows = queries.pending(principal=request.principal)
    if chosen != "waiting":
        rows = queries.approvals(principal=request.principal).filter(state__in=TABS[chosen][1])
    context = {
        "page": pages.cut(rows.defer("evidence"), request),
        "tabs": {key: title for key, (title, _) in TABS.items()},
        "chosen": chosen,
        "names": names.known(),
        "now": timezone.now(),
    }
    if "HX-Request" not in request.headers:
        return pages.show(request, "approvals/queue", context)
    return pages.part(request, "approvals/_rows", context)


@enters("approvals")
def detail(request: MemberRequest, approval: UUID) -> HttpResponse:
    """One approval: what will happen, why it was held, and what led to it."""
    row = queries.access_approval(approval, principal=request.principal)
    return pages.show(request, "approvals/detail", _context(row, request.principal))


@enters("approvals", to_change=True)
@require_POST
def vote(request: MemberRequest, approval: UUID) -> HttpResponse:
    """Approve or reject; what speaks against it is said beside the form."""
    row = queries.access_approval(approval, principal=request.principal)
    verdict = "approve" if request.POST.get("verdict") == "approve" else "reject"
    reason = request.POST.get("reason", "").replace("\0", "").strip()
    try:
        runs.settle_approval(
            row, verdict=verdict, by=request.principal, now=timezone.now(), reason=reason
        )
    except Problem as problem:
        row = queries.access_approval(approval, principal=request.principal)
        context = {**_context(row, request.principal), "problem": problem, "reason": reason}
        return pages.show(request, "approvals/detail", context, status=problem.status)
    word = "Approved" if verdict == "approve" else "Rejected"
    messages.success(request, f"{word}: {sentences.planned(row.action, row.resource)}.")
    return redirect("console:approval", row.pk)


def _context(row: Approval, member: Principal) -> dict[str, Any]:
    now = timezone.now()
    tool = Tool.objects.filter(slug=row.resource).first() if row.action == "use_tool" else None
    step = Step.objects.filter(run=row.run, number=row.step or 0).first() if row.run else None
    verdict = Verdict(outcome="held", code=row.code)
    return {
        "approval": row,
        "sentence": sentences.planned(row.action, row.resource),
        "tool": tool,
        # The intent is for the tool as it was when it was proposed: another is never used for it.
        "is_another_tool": row.state == State.PENDING and _is_another(tool, step),
        "effect": sentences.EFFECTS.get(tool.effect, "") if tool else "",
        "arguments": sentences.arguments(
            row.intent["arguments"], tool.parameters if tool else {}, row.evidence
        ),
        "why": verdicts.explain(verdict),
        "statements": reasons.statements_of(row.policy_version, row.reasons),
        "evidence": [{**piece, "title": sentences.title_of(piece)} for piece in row.evidence],
        "trusted": sentences.TRUSTED,
        "votes": row.votes.all(),
        "run": Run.objects.filter(pk=row.run).first() if row.run else None,
        "bar": bar_of(row, member, now),
        "decision": _decision(step, member),
        "sees_documents": rooms.named("documents").is_open_to(member),
        "names": names.known(),
        **_neighbours(row, member),
    }


def _is_another(tool: Tool | None, step: Step | None) -> bool:
    return tool is not None and step is not None and step.tool_sha256 != toolbox.sha256_of(tool)


def _decision(step: Step | None, member: Principal) -> UUID | None:
    """The newest decision about what it is for, for whoever reads the ledger."""
    return step.decision if step and rooms.named("ledger").is_open_to(member) else None


BARS: dict[type[Problem], str] = {
    NotPermitted: "Only reviewers and admins vote. You can read everything here.",
    RequesterCannotVote: "You asked for this, so somebody else has to countersign it.",
    IssuerCannotVote: (
        "You issued the key that asked for this, so somebody else has to countersign it."
    ),
    AuthorCannotVote: (
        "You wrote this agent, so somebody else has to countersign what it proposes."
    ),
}

FOR_YOU = (
    "Whoever asked for this says that it is on your behalf, so somebody else has to countersign it."
)


def bar_of(row: Approval, member: Principal, now: datetime) -> str:
    """Why this member can't vote on it now, in a sentence; "" where they can.

    The verbs check all of it again: this is only what the page says.
    """
    if row.state != State.PENDING:
        return f"It was settled already: it is {row.get_state_display().lower()}."
    if row.expires_at <= now:
        return "Its time is over: nobody can vote on it any more."
    try:
        voting.check_may_vote(row, member)
    except RequesterCannotVote as problem:
        return FOR_YOU if row.requester != member.id else BARS[type(problem)]
    except tuple(BARS) as problem:
        return BARS[type(problem)]
    return ""


def _neighbours(row: Approval, member: Principal) -> dict[str, Any]:
    """Where `j` and `k` lead: the next and the previous that wait, by age."""
    waiting = queries.pending(principal=member).only("id").prefetch_related(None)
    younger = waiting.filter(created_at__gte=row.created_at).exclude(pk=row.pk)
    older = waiting.filter(created_at__lt=row.created_at).reverse()
    following = younger.first() or waiting.exclude(pk=row.pk).first()
    return {"following": following, "previous": older.first()}
