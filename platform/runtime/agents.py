"""The only place that creates agents and publishes their versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from audit import canonical, ledger
from audit.errors import Problem
from gateway.models import Route
from governance.evidence import storable
from retrieval.models import Collection
from runtime import limits, schemas
from runtime.events import AgentCreated, AgentVersionPublished
from runtime.models import SLUG, Agent, AgentVersion, Tool
from tenants import configuration
from tenants.principals import Principal

LONGEST_NAME = 200
LONGEST_FUNCTION = 64  # of the chat-completions protocol


class AgentInvalid(Problem):
    """The agent can't be saved: {reason}"""

    code = "agent_invalid"
    status = 422


class AgentTaken(Problem):
    """There is an agent {agent} already."""

    code = "agent_taken"
    status = 409


def create(slug: str, *, name: str, by: Principal, now: datetime) -> Agent:
    """An agent without versions; `by` is its author, who may never approve what it proposes.

    Raises AgentInvalid, AgentTaken, NotPermitted (admins and builders create agents).
    """
    by.require("admin", "builder")
    try:
        SLUG(slug)
    except ValidationError as problem:
        raise AgentInvalid(reason=problem.messages[0]) from None
    if not 0 < len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise AgentInvalid(reason=f"its name is a line of 1 to {LONGEST_NAME} characters.")
    try:
        with transaction.atomic():
            agent = Agent.objects.create(slug=slug, name=name, author=UUID(by.id), created_at=now)
            ledger.record(AgentCreated(agent=slug, author=by.id), actor=by.actor)
            configuration.touch()
    except IntegrityError:
        raise AgentTaken(agent=slug) from None
    return agent


def publish_version(
    agent: Agent,
    *,
    instructions: str,
    route: str,
    tools: Sequence[str],
    collections: Sequence[str],
    limits_: dict[str, Any],
    answer_schema: dict[str, Any] | None,
    by: Principal,
    now: datetime,
) -> AgentVersion:
    """The agent's next version, which is never changed. What it names must exist.

    Naming a tool is no grant: without one each use is denied. Raises AgentInvalid,
    LimitsInvalid, NotPermitted.
    """
    by.require("admin", "builder")
    limits.parse(limits_)
    _check_names(route, tools, collections)
    _check_answer_schema(answer_schema)
    definition = {
        "instructions": instructions,
        "route": route,
        "tools": list(tools),
        "collections": list(collections),
        "limits": limits_,
        "answer_schema": answer_schema,
    }
    if not storable(definition):
        raise AgentInvalid(reason="it holds a NUL character.")
    digest = _digest(definition)
    with transaction.atomic():
        Agent.objects.select_for_update().get(pk=agent.pk)
        number = agent.versions.count() + 1
        version = AgentVersion.objects.create(
            agent=agent,
            number=number,
            author=UUID(by.id),
            sha256=digest,
            created_at=now,
            **definition,
        )
        ledger.record(
            AgentVersionPublished(agent=agent.slug, version=number, sha256=digest), actor=by.actor
        )
        configuration.touch()
    return version


def _digest(definition: dict[str, Any]) -> str:
    try:
        return canonical.digest(definition)
    except canonical.NotCanonical as problem:
        raise AgentInvalid(reason=str(problem)) from None


def _check_names(route: str, tools: Sequence[str], collections: Sequence[str]) -> None:
    if not Route.objects.filter(slug=route, purpose="chat").exists():
        raise AgentInvalid(reason=f"there is no chat route {route!r}.")
    for kind, model, wanted in (("tool", Tool, tools), ("collection", Collection, collections)):
        if len(set(wanted)) != len(wanted):
            raise AgentInvalid(reason=f"a {kind} is named twice.")
        known = set(model.objects.filter(slug__in=wanted).values_list("slug", flat=True))
        missing = sorted(set(wanted) - known)
        if missing:
            raise AgentInvalid(reason=f"there is no {kind} {missing[0]!r}.")
    functions = [*tools, *(f"search_{slug.replace('-', '_')}" for slug in collections)]
    if len(set(functions)) != len(functions):
        raise AgentInvalid(
            reason="two of its tools and collections would be offered under one name."
        )
    if any(len(name) > LONGEST_FUNCTION for name in functions):
        raise AgentInvalid(reason=f"no function may have more than {LONGEST_FUNCTION} letters.")


def _check_answer_schema(schema: dict[str, Any] | None) -> None:
    if schema is None:
        return
    try:
        schemas.check(schema)
    except schemas.SchemaUnusable as problem:
        raise AgentInvalid(reason=f"the answer schema: {problem}") from None
