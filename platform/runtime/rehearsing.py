"""The only place that tells which verdict an intent would get. Nothing is decided or recorded."""

from __future__ import annotations

from typing import Any

import msgspec

from governance import decisions, policies, policy_sets
from governance.intents import CallModel, Intent, SearchCollection, UseTool
from governance.policies import CompiledPolicies, Verdict
from runtime import resources, toolbox
from runtime.models import Agent, AgentVersion
from runtime.queries import authors_of, latest_version
from tenants import isolation
from tenants.principals import Principal

ACTIONS: dict[str, type[Intent]] = {
    "use_tool": UseTool,
    "search_collection": SearchCollection,
    "call_model": CallModel,
}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Would this be allowed? `agent` None asks for the member who asks."""

    action: str
    resource: str
    arguments: dict[str, Any] = {}
    agent: Agent | None = None
    on_behalf_of: str | None = None


def verdict_on(question: Question, *, by: Principal, text: str | None = None) -> Verdict:
    """What the policies in force, or a draft of them in `text`, say of the question.

    Raises NotPermitted (builders, reviewers, auditors and admins), ResourceUnknown, AgentUnknown
    while the agent has no version, PolicyInvalid for a draft.
    """
    by.require("admin", "builder", "reviewer", "auditor")
    version = latest_version(question.agent) if question.agent else None
    intent = _intent(question, by, version)
    return decisions.rehearse(
        intent,
        principal=by,
        resource=resources.asked_for(intent),
        authors=authors_of(version) if version else None,
        policies=_policies(text),
    )


def _intent(question: Question, by: Principal, version: AgentVersion | None) -> Intent:
    agent = question.agent
    return ACTIONS[question.action](
        tenant=isolation.current().slug,
        principal_kind="agent" if agent else by.kind,
        principal=agent.slug if agent else by.id,
        agent_version=str(version.number) if version else None,
        resource=question.resource,
        arguments=question.arguments,
        on_behalf_of=question.on_behalf_of,
    )


def _policies(text: str | None) -> CompiledPolicies | None:
    if text is None:
        return policy_sets.active()
    return policies.compile(text, policies.schema_for(toolbox.schemas()))
