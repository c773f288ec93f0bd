"""The only place that says which entries tell of agents, tools, grants, runs and steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from audit.reconciling import Pair, Rows, key
from gateway.models import Route
from governance import grants
from governance.events import GrantGiven, GrantRevoked
from retrieval.models import Collection
from runtime import events, toolbox
from runtime.models import Agent, AgentVersion, Run, RunState, Step, StepState, Tool

ENDED = (StepState.ENDED, StepState.FAILED, StepState.UNKNOWN)


def _tools() -> list[str]:
    """Their definitions as they are now: no row says what its digest is."""
    return [f"{tool.slug} {toolbox.sha256_of(tool)}" for tool in Tool.objects.iterator()]


def _grants() -> Iterator[str]:
    """The grants of what there is; a removed thing's lead nowhere."""
    slugs = {
        (model.__name__, str(pk)): slug
        for model in (Tool, Route, Collection)
        for pk, slug in model.objects.values_list("pk", "slug")
    }
    names = {kind.lower(): kind for kind, _ in slugs}
    for agent in Agent.objects.values_list("slug", flat=True).iterator():
        for kind, pk in grants.of(agent):
            slug = slugs.get((names.get(kind, ""), pk))
            if slug is not None:
                yield f"{agent} {names[kind]} {slug}"


def _runs(state: RunState) -> Rows:
    return lambda: Run.objects.filter(state=state).values_list(key("pk"))


def _steps() -> QuerySet[Any, Any]:
    """What was begun: by the idempotency key, which no act outside of a step has."""
    return Step.objects.filter(attempts__gt=0).values_list(key("run_id", "number"))


PAIRS = (
    Pair(
        name="agents",
        rows=lambda: Agent.objects.values_list(key("slug")),
        begin=(events.AgentCreated.kind,),
        by=("agent",),
    ),
    Pair(
        name="agent versions",
        rows=lambda: AgentVersion.objects.values_list(key("agent__slug", "number", "sha256")),
        begin=(events.AgentVersionPublished.kind,),
        by=("agent", "version", "sha256"),
    ),
    Pair(
        name="tools",
        rows=_tools,
        begin=(events.ToolAdded.kind, events.ToolChanged.kind),
        by=("tool",),
        says=("sha256",),
        end=(events.ToolRemoved.kind,),
    ),
    Pair(
        name="grants",
        rows=_grants,
        begin=(GrantGiven.kind,),
        by=("agent", "resource_kind", "resource"),
        end=(GrantRevoked.kind,),
        both_ways=False,
    ),
    Pair(
        name="runs",
        rows=lambda: Run.objects.values_list(key("pk")),
        begin=(events.RunStarted.kind,),
        by=("correlation",),
    ),
    Pair(
        name="completed runs",
        rows=_runs(RunState.COMPLETED),
        begin=(events.RunCompleted.kind,),
        by=("correlation",),
    ),
    Pair(
        name="failed runs",
        rows=_runs(RunState.FAILED),
        begin=(events.RunFailed.kind,),
        by=("correlation",),
    ),
    Pair(
        name="cancelled runs",
        rows=_runs(RunState.CANCELLED),
        begin=(events.RunCancelled.kind,),
        by=("correlation",),
    ),
    Pair(
        name="begun steps",
        rows=_steps,
        begin=(events.EffectBegun.kind,),
        by=("correlation", "step"),
        only="idempotency_key",
    ),
    Pair(
        name="ended steps",
        rows=lambda: Step.objects.filter(attempts__gt=0, state__in=ENDED).values_list(
            key("decision")
        ),
        begin=(events.EffectEnded.kind, events.EffectFailed.kind, events.EffectUnknown.kind),
        by=("decision",),
        both_ways=False,
    ),
)
