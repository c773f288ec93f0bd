"""The only place that reads agents, tools and runs on somebody's behalf."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.db.models import QuerySet

from audit.errors import Problem
from governance.verdicts import Authors
from retrieval.models import Collection
from runtime.models import Agent, AgentVersion, Run, RunState, Step, StepState, Tool
from runtime.transcripts import Offer, ResultTurn, Transcript, Turn
from tenants import isolation, members
from tenants.principals import Principal

SEARCH_PARAMETERS = {
    "type": "object",
    "properties": {
        "query": {
            "type": "string",
            "minLength": 1,
            "description": "What to look for, in plain words.",
        }
    },
    "required": ["query"],
    "additionalProperties": False,
}


class AgentUnknown(Problem):
    """There is no agent {agent} here."""

    code = "agent_unknown"
    status = 404


class ToolUnknown(Problem):
    """There is no tool {tool} here."""

    code = "tool_unknown"
    status = 404


class RunUnknown(Problem):
    """There is no run {run} here."""

    code = "run_unknown"
    status = 404


def access_agent(slug: str, *, principal: Principal) -> Agent:
    """The agent, for anybody in its tenant. Raises AgentUnknown."""
    agent = Agent.objects.filter(slug=slug).first()
    if agent is None or principal.kind == "agent":
        raise AgentUnknown(agent=slug)
    return agent


def latest_version(agent: Agent) -> AgentVersion:
    """The agent's newest version. Raises AgentUnknown while it has none."""
    version = agent.versions.order_by("-number").first()
    if version is None:
        raise AgentUnknown(agent=agent.slug)
    return version


def access_tool(slug: str, *, principal: Principal) -> Tool:
    """The tool, for anybody in its tenant. Raises ToolUnknown."""
    tool = Tool.objects.filter(slug=slug).first()
    if tool is None or principal.kind == "agent":
        raise ToolUnknown(tool=slug)
    return tool


def runs_visible_to(principal: Principal) -> QuerySet[Run]:
    """Members see every run of their tenant; a client app sees those that it started."""
    runs = Run.objects.select_related("version__agent")
    if principal.kind == "member":
        return runs
    return runs.filter(requester_kind=principal.kind, requester=principal.id)


def access_run(run_id: UUID, *, principal: Principal) -> Run:
    """The run, if `principal` may see it. Raises RunUnknown."""
    run = runs_visible_to(principal).filter(pk=run_id).first()
    if run is None:
        raise RunUnknown(run=str(run_id))
    return run


def steps_of(run: Run) -> list[Step]:
    """The run's steps, first to last."""
    return list(run.steps.order_by("number"))


def offers_of(version: AgentVersion) -> tuple[Offer, ...]:
    """The functions that the version's model is offered, in the version's order."""
    tools = {tool.slug: tool for tool in Tool.objects.filter(slug__in=version.tools)}
    collections = {c.slug: c for c in Collection.objects.filter(slug__in=version.collections)}
    searches = [
        _search_offer(collections[slug]) for slug in version.collections if slug in collections
    ]
    return (*searches, *(_tool_offer(tools[slug]) for slug in version.tools if slug in tools))


def _tool_offer(tool: Tool) -> Offer:
    return Offer(
        name=tool.slug,
        description=tool.description,
        parameters=tool.parameters,
        action="use_tool",
        resource=tool.slug,
    )


def _search_offer(collection: Collection) -> Offer:
    return Offer(
        name=f"search_{collection.slug.replace('-', '_')}",
        description=f"Search {collection.name} for an answer. {collection.description}".strip(),
        parameters=SEARCH_PARAMETERS,
        action="search_collection",
        resource=collection.slug,
    )


WAITS_FOR = {
    "sealed": "It acts once its entries are sealed into the ledger: a policy asks for that.",
    "cosigned": "It acts once a witness has cosigned its entries: a policy asks for that.",
}


def waits_for(run: Run) -> str | None:
    """What a waiting run waits for, in a sentence for people; None for any other."""
    if run.state != RunState.WAITING:
        return None
    step = run.steps.filter(state=StepState.WAITING).first()
    return WAITS_FOR.get(str(step.awaits)) if step else None


def transcript_of(run: Run, *, tenant: str) -> Transcript:
    """The run so far, as planning sees it: one turn for each step that came to an end."""
    version = run.version
    turns = [step.turn for step in steps_of(run) if step.turn is not None]
    return Transcript(
        tenant=tenant,
        run=str(run.pk),
        agent=version.agent.slug,
        version=str(version.number),
        instructions=version.instructions,
        route=version.route,
        task=run.task,
        on_behalf_of=run.on_behalf_of,
        offers=offers_of(version),
        turns=tuple(msgspec.convert(turn, type=Turn) for turn in turns),
        answer_schema=version.answer_schema,
    )


def evidence_of(transcript: Transcript) -> list[dict[str, Any]]:
    """What led to the next intent, for a reviewer: the task, then each result with its origin."""
    task = {"kind": "task", "title": "The task", "text": transcript.task}
    results = [turn for turn in transcript.turns if isinstance(turn, ResultTurn)]
    return [task, *(piece for turn in results for piece in _evidence(turn))]


def _evidence(turn: ResultTurn) -> list[dict[str, Any]]:
    if turn.is_search:
        return [{"kind": "passage", "title": _place(p), **p} for p in turn.passages]
    text = msgspec.json.format(msgspec.json.encode(turn.value, order="sorted"), indent=2).decode()
    return [{"kind": "result", "title": turn.origin, "text": text}]


def _place(passage: dict[str, Any]) -> str:
    where = passage["heading"] or (f"page {passage['page']}" if passage["page"] else "")
    return f"{passage['document']}, {where}" if where else str(passage["document"])


def authors_of(version: AgentVersion) -> Authors:
    """Who wrote the agent and this version of it: neither may vote on what it proposes."""
    return Authors(agent=str(version.agent.author), version=str(version.author))


def requester_of(run: Run) -> Principal:
    """Whoever asked for the run, with the roles that they have now."""
    return principal_named(run.requester_kind, run.requester)


def principal_named(kind: str, identifier: str) -> Principal:
    """A member (with no roles once they left) or a client app, as a principal of this tenant."""
    member = members.principal_of(identifier) if kind == "member" else None
    return member or Principal(
        kind="member" if kind == "member" else "client_app",
        id=identifier,
        name=identifier,
        tenant=isolation.current().slug,
    )
