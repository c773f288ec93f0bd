"""The only place that lists the entry kinds of decisions, approvals, grants and policies."""

from __future__ import annotations

from audit.events import Actor, Event
from governance.intents import Intent
from governance.policies import Verdict
from governance.resources import Resource

MOST_NAMED = 100
"""How many policies an entry names at most: an entry has a limited size."""


class IntentDecided(Event, kind="intent.decided"):
    """An intent was judged: allowed, held or denied.

    Its arguments are in the digest alone, since they may be about people. `code` says why,
    `reasons` name the policies that brought it about (or raised an error), `matched` every
    policy that matched; `approval` is the one that was opened, is awaited, or was spent.
    """

    digest: str
    action: str
    resource_kind: str
    resource: str
    outcome: str
    code: str
    reasons: list[str]
    matched: list[str]
    policy_version: int
    policy_sha256: str
    run: str | None
    step: int | None
    approval: str | None


class ApprovalOpened(Event, kind="approval.opened"):
    """An intent was held, and waits for a reviewer."""

    approval: str
    digest: str
    action: str
    resource: str
    expires_at: str


class ApprovalApproved(Event, kind="approval.approved"):
    """A reviewer approved a held intent."""

    approval: str
    digest: str
    reason: str


class ApprovalRejected(Event, kind="approval.rejected"):
    """A reviewer rejected a held intent, with a reason."""

    approval: str
    digest: str
    reason: str


class ApprovalExpired(Event, kind="approval.expired"):
    """Nobody voted, or nobody used the approval, in time."""

    approval: str
    digest: str
    state_before: str


class ApprovalCancelled(Event, kind="approval.cancelled"):
    """A held intent was withdrawn with its run."""

    approval: str
    digest: str


class ApprovalSpent(Event, kind="approval.spent"):
    """An approval was used, for the one act that it was for."""

    approval: str
    digest: str


class GrantGiven(Event, kind="grant.given"):
    """An agent may be given a tool, route or collection to use."""

    agent: str
    resource_kind: str
    resource: str


class GrantRevoked(Event, kind="grant.revoked"):
    """An agent may no longer use a tool, route or collection."""

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
        digest=intent.digest,
        action=intent.action,
        resource_kind=resource.kind,
        resource=resource.slug,
        outcome=verdict.outcome,
        code=verdict.code,
        reasons=list(verdict.reasons[:MOST_NAMED]),
        matched=list(verdict.matched[:MOST_NAMED]),
        policy_version=verdict.policy_version,
        policy_sha256=verdict.policy_sha256,
        run=intent.run,
        step=intent.step,
        approval=approval,
    )


def actor_of(intent: Intent) -> Actor:
    """Who wants what `intent` says, as the ledger names them."""
    return Actor(
        kind=intent.principal_kind,
        id=intent.principal,
        version=intent.agent_version,
        on_behalf_of=intent.on_behalf_of,
    )
