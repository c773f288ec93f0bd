"""The only place for the pages of runs: the list, one run's timeline, starting and cancelling."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.errors import Problem
from console import agents, names, pages, rooms, sentences
from console.entrance import enters
from console.pages import MemberRequest
from runtime import queries, runs
from runtime.models import Agent, Run, RunState, Step, StepState


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run, for its timeline."""

    step: Step
    title: str
    arguments: list[sentences.Argument]
    tokens: int
    cost_micros: int
    problem: str


@enters("runs")
def index(request: MemberRequest) -> HttpResponse:
    """Every run, newest first, by state, agent, its steps' state and words of the task."""
    chosen = {name: pages.asked(request, name) for name in ("state", "step", "agent", "q")}
    problem = pages.misfit(request, {"state": RunState.values, "step": StepState.values})
    rows = _fitting(queries.runs_visible_to(request.principal), chosen)
    if problem:
        rows = rows.none()
    context = {
        "page": pages.cut(rows.annotate(step_count=Count("steps")), request),
        "problem": problem,
        "states": RunState.choices,
        "step_states": StepState.choices,
        "agents": Agent.objects.order_by("slug").values_list("slug", flat=True),
        "chosen": chosen,
        "names": names.known(),
    }
    return pages.show(request, "runs/list", context, status=problem.status if problem else 200)


def _fitting(rows: QuerySet[Run], chosen: dict[str, str]) -> QuerySet[Run]:
    if chosen["state"]:
        rows = rows.filter(state=chosen["state"])
    if chosen["step"]:
        rows = rows.filter(pk__in=Step.objects.filter(state=chosen["step"]).values("run"))
    if chosen["agent"]:
        rows = rows.filter(version__agent__slug=chosen["agent"])
    if chosen["q"]:
        rows = rows.filter(task__icontains=chosen["q"])
    return rows.order_by("-created_at", "-id")


@enters("runs")
def detail(request: MemberRequest, run: UUID) -> HttpResponse:
    """One run as a timeline of its steps; live while it is not over."""
    row = queries.access_run(run, principal=request.principal)
    if "HX-Request" not in request.headers:
        return pages.show(request, "runs/detail", _context(request, row))
    if pages.asked(request, "seen") == _stamp(row, queries.steps_of(row)):
        return pages.unchanged()
    return pages.part(request, "runs/_timeline", _context(request, row))


@enters("runs")
def outcome(request: MemberRequest, run: UUID) -> HttpResponse:
    """Where a run is, in a line that refreshes itself: what became of an approval."""
    row = queries.access_run(run, principal=request.principal)
    return pages.part(request, "runs/_outcome", {"run": row})


@enters("runs", to_change=True)
@require_POST
def start(request: MemberRequest, agent: str) -> HttpResponse:
    """Give an agent a task, and go to its run."""
    row = queries.access_agent(agent, principal=request.principal)
    task = request.POST.get("task", "")
    try:
        run = runs.start(task, agent=row, principal=request.principal, now=timezone.now())
    except Problem as problem:
        context = {**agents.context_of(row), "task": task, "task_problem": problem}
        return pages.show(request, "agents/detail", context, status=problem.status)
    return redirect("console:run", run.pk)


@enters("runs", to_change=True)
@require_POST
def cancel(request: MemberRequest, run: UUID) -> HttpResponse:
    """End a run; what it began is not undone."""
    row = queries.access_run(run, principal=request.principal)
    try:
        runs.cancel(row, by=request.principal, now=timezone.now())
    except Problem as problem:
        messages.error(request, str(problem))
    else:
        messages.success(request, "The run was cancelled. What it had done already stays done.")
    return redirect("console:run", row.pk)


def _context(request: MemberRequest, run: Run) -> dict[str, Any]:
    steps = queries.steps_of(run)
    answer = run.answer or {}
    citations = answer.get("citations", [])
    return {
        "run": run,
        "waits_for": queries.waits_for(run),
        "agent": run.version.agent,
        "steps": [_shown(step) for step in steps],
        "answer": sentences.pieces(answer.get("text", ""), citations),
        "citations": citations,
        "data": answer.get("data"),
        "stamp": _stamp(run, steps),
        "may_cancel": not run.is_over and rooms.named("runs").is_kept_by(request.principal),
        "sees_approvals": rooms.named("approvals").is_open_to(request.principal),
        "sees_ledger": rooms.named("ledger").is_open_to(request.principal),
        "sees_agents": rooms.named("agents").is_open_to(request.principal),
        "sees_documents": rooms.named("documents").is_open_to(request.principal),
        "names": names.known(),
    }


def _stamp(run: Run, steps: list[Step]) -> str:
    """Changes whenever something on the run's page does."""
    last = steps[-1] if steps else None
    return f"{run.state}-{len(steps)}-{last.state if last else ''}-{last.attempts if last else 0}"


def _shown(step: Step) -> Shown:
    values = step.intent.get("arguments", {})
    is_object = isinstance(values, dict)
    return Shown(
        step=step,
        title=sentences.told(step.action, step.resource, step.state),
        arguments=sentences.arguments(values, {}, ()) if is_object else [],
        tokens=step.usage.get("tokens", 0),
        cost_micros=step.usage.get("cost_micros", 0),
        problem=step.usage.get("problem", "") if step.state != StepState.ENDED else "",
    )
