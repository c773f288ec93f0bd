"""The only place that puts an intent before the policies; decisions and the data plane use it."""

from __future__ import annotations

import msgspec

from governance.intents import Intent
from governance.policies import CompiledPolicies, Entity, Request, Verdict, evaluate
from governance.resources import Resource, fits
from governance.schemas import fit
from tenants.principals import Principal

_TYPES = {"agent": "Agent", "member": "Member", "client_app": "ClientApp"}


class Authors(msgspec.Struct, frozen=True, kw_only=True):
    """The member ids of who wrote an agent, its owner for policies, and who wrote the version
    of it that acts."""

    agent: str
    version: str


def judge(
    compiled: CompiledPolicies | None,
    intent: Intent,
    resource: Resource,
    *,
    asker: Principal,
    authors: Authors | None,
    grant: str | None,
) -> Verdict:
    """The verdict on `intent`; pure, and never raises: what can't be judged is denied.

    What policies see of it is put together here, for decisions, rehearsals and the data plane
    alike. `asker` is the principal itself, or whoever asked for the agent's run; `authors` and
    `grant` are an agent's, and None for anybody else.

    1. A resource that is not the one which the intent names is denied.
    2. An agent without a grant is denied, whatever a policy says.
    3. A tenant without policies denies everything.
    4. The rest is asked of Cedar, see `policies.evaluate`.
    """
    if not fits(resource, intent):
        return _denied("resource_mismatch")
    if intent.principal_kind == "agent" and grant is None:
        return _denied("not_granted")
    if compiled is None:
        return _denied("no_policy")
    principal = _principal(intent, asker, authors)
    if principal is None:
        return _denied("principal_unclear")
    verdict = evaluate(compiled, _request(compiled, intent, principal, resource))
    return msgspec.structs.replace(verdict, grant=grant)


def _denied(code: str) -> Verdict:
    return Verdict(outcome="denied", code=code)


def at_once(verdict: Verdict) -> Verdict:
    """The verdict where nobody can wait for a reviewer: what would be held is denied."""
    if verdict.outcome != "held":
        return verdict
    return msgspec.structs.replace(verdict, outcome="denied", code="approval_needed")


def witnessed(verdict: Verdict, *, is_witnessed: bool) -> Verdict:
    """The verdict where a policy asks for a cosignature: with no witness, nobody would give it."""
    if is_witnessed or verdict.outcome == "denied" or verdict.awaits != "cosigned":
        return verdict
    return msgspec.structs.replace(verdict, outcome="denied", code="no_witness")


def _principal(intent: Intent, asker: Principal, authors: Authors | None) -> Entity | None:
    """The principal as policies see it; None for an agent without an owner or a version,
    and for what is none of the known kinds."""
    kind = _TYPES.get(intent.principal_kind)
    if kind is None:
        return None
    attributes: dict[str, object] = {}
    if intent.principal_kind == "agent":
        version = intent.agent_version or ""
        if authors is None or not authors.agent or not version.isdecimal():
            return None
        attributes = {"owner": authors.agent, "version": int(version)}
    if intent.principal_kind == "member":
        attributes = {"roles": sorted(asker.roles)}
    return Entity(type=kind, id=intent.principal, attributes=attributes)


def _request(
    compiled: CompiledPolicies, intent: Intent, principal: Entity, resource: Resource
) -> Request:
    context: dict[str, object] = {"arguments": {}}
    if intent.action == "use_tool":
        typed = compiled.arguments.get(resource.slug)
        context["arguments"] = {resource.slug: fit(intent.arguments, typed)}
    if intent.on_behalf_of is not None:
        context["on_behalf_of"] = intent.on_behalf_of
    attributes = _attributes(resource)
    entity = Entity(type=resource.kind, id=resource.slug, attributes=attributes)
    return Request(principal=principal, resource=entity, context=context)


def _attributes(resource: Resource) -> dict[str, object]:
    if resource.kind == "Tool":
        return {"tags": [], **resource.attributes}
    return dict(resource.attributes)


def explain(verdict: Verdict) -> str:
    """Why, in one sentence that may be shown to the agent and to people."""
    sentence = SENTENCES.get(verdict.code, "It was denied.")
    if verdict.reasons:
        return f"{sentence} ({', '.join(verdict.reasons)})"
    return sentence


SENTENCES = {
    "permitted": "The policies permit it.",
    "renewed": "It was allowed before, and its process ended.",
    "unstorable": "Its arguments hold a NUL character, so no approval can keep them.",
    "approved": "A reviewer approved it.",
    "unattended_forbidden": "A policy asks for a reviewer.",
    "unattended_not_permitted": "No policy permits it without a reviewer.",
    "forbidden": "A policy forbids it.",
    "not_permitted": "No policy permits it.",
    "policy_error": "The policies could not be evaluated, so it is denied.",
    "no_witness": "A policy asks for a witness's cosignature, and no witness is configured.",
    "no_policy": "The tenant has no policies, so everything is denied.",
    "not_granted": "The agent was not granted this.",
    "resource_mismatch": "It names another resource than the one that was found.",
    "principal_unclear": "The agent's author or version is not known.",
    "rejected": "A reviewer rejected it.",
    "approval_pending": "It waits for a reviewer.",
    "approval_needed": "It needs a reviewer's approval, and nothing here can wait for one.",
    "approval_expired": "Nobody settled it, or used the approval, in time.",
    "approval_cancelled": "It was cancelled.",
    "approval_spent": "Its approval was used already.",
    "approval_mismatch": "The approval is for another intent.",
    "already_settled": "Its approval was used already.",
    "voter_barred": "Whoever approved it could not approve it any more.",
}
