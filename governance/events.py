"""The only place that lists the entry kinds of decisions, approvals, grants and policies."""

from __future__ import annotations

from typing import Any

import msgspec

from audit import subjects
from audit.events import Actor, Bound, Event, Private
from governance.intents import Intent, as_json
from governance.policies import Verdict
from governance.resources import Resource
from tenants.principals import Principal

MOST_NAMED = 100
"""How many policies an entry names at most: an entry has a limited size."""


class IntentDecided(Event, kind="intent.decided"):
    """An intent was judged: allowed, held or denied.

    `intent` is the whole of it, arguments included; effects and approvals name it by the same
    commitment. `code` says why,
    `reasons` name the policies that brought it about (or raised an error), `matched` every
    policy that matched; `approval` is the one that was opened, is awaited, or was spent. `awaits`
    is how far the ledger must be with it before anything is done: "recorded", "sealed" into the
    tree or "cosigned" by a witness. `grant` is the one that let an agent in, and null for others.
    """

    intent: Bound[dict[str, Any]]
    action: str
    resource_kind: str
    resource: str
    outcome: str
    code: str
    reasons: list[str]
    matched: list[str]
    policy_version: int
    policy_sha256: str
    step: int | None
    approval: str | None
    awaits: str = "recorded"
    grant: str | None = None


class ApprovalOpened(Event, kind="approval.opened"):
    """An intent was held, and waits for a reviewer; `shown` is what the reviewer will see.

    `quorum` is how many must approve it.
    """

    approval: str
    intent: str
    action: str
    resource: str
    requester: dict[str, str]
    shown: Bound[dict[str, Any]]
    policy_version: int
    expires_at: str
    quorum: int = 1


class ApprovalApproved(Event, kind="approval.approved"):
    """A reviewer approved a held intent, while the policies of `policy_version` were in force.

    It is the vote number `votes` for it, of `quorum` that it needs.
    """

    approval: str
    intent: str
    reason: Private[str | None]
    shown: str
    policy_version: int
    votes: int = 1
    quorum: int = 1


class ApprovalRejected(Event, kind="approval.rejected"):
    """A reviewer rejected a held intent, with a reason."""

    approval: str
    intent: str
    reason: Private[str | None]
    shown: str
    policy_version: int


class ApprovalExpired(Event, kind="approval.expired"):
    """Nobody voted, or nobody used the approval, in time."""

    approval: str
    intent: str
    state_before: str


class ApprovalCancelled(Event, kind="approval.cancelled"):
    """A held intent was withdrawn with its run."""

    approval: str
    intent: str


class ApprovalSpent(Event, kind="approval.spent"):
    """An approval was used, for the one act that it was for."""

    approval: str
    intent: str


class GrantGiven(Event, kind="grant.given"):
    """An agent was given a tool, route or collection to use; `grant` is the id of that grant."""

    grant: str
    agent: str
    resource_kind: str
    resource: str


class GrantRevoked(Event, kind="grant.revoked"):
    """An agent may no longer use a tool, route or collection: `grant` was taken back."""

    grant: str
    agent: str
    resource_kind: str
    resource: str


class PolicyActivated(Event, kind="policy.activated"):
    """A version of the policies came into force.

    `cause` is "begun" (a new tenant), "saved" (an admin's text) or "refitted" (the same text
    against the schema of changed tools).
    """

    version: int
    sha256: str
    schema_sha256: str
    cause: str


def decided(
    intent: Intent, resource: Resource, verdict: Verdict, *, approval: str | None = None
) -> IntentDecided:
    """The entry for `verdict`; decisions and the data plane record the same one."""
    return IntentDecided(
        intent=as_json(intent),
        action=intent.action,
        resource_kind=resource.kind,
        resource=resource.slug,
        outcome=verdict.outcome,
        code=verdict.code,
        reasons=list(verdict.reasons[:MOST_NAMED]),
        matched=list(verdict.matched[:MOST_NAMED]),
        policy_version=verdict.policy_version,
        policy_sha256=verdict.policy_sha256,
        step=intent.step,
        approval=approval,
        awaits=verdict.awaits,
        grant=verdict.grant,
    )


def actor_of(intent: Intent, asker: Principal) -> Actor:
    """Who wants what `intent` says, as the ledger names them.

    `asker` makes the call, or asked for the agent's run, which then is done on their behalf.
    """
    if intent.principal_kind != "agent":
        return msgspec.structs.replace(asker.actor, on_behalf_of=intent.on_behalf_of)
    return Actor(
        kind="agent",
        id=intent.principal,
        version=intent.agent_version,
        on_behalf_of=intent.on_behalf_of or asker.id,
        means=asker.means,
    )


def commitment_of(intent: Intent, asker: Principal) -> str:
    """What stands for the intent in the acting tenant's ledger, in each of its entries."""
    return subjects.of(actor_of(intent, asker).person).commitment(as_json(intent))
