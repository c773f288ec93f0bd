"""The only place that decides whether an intent may take effect, and records it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from django.db import connection

from audit import ledger, outside, queries, states
from audit.errors import Problem
from governance import approvals, events, grants, permits, policy_sets, verdicts, voting
from governance.evidence import Evidence, storable
from governance.intents import Intent
from governance.models import Approval, State
from governance.permits import Permit
from governance.policies import CompiledPolicies, Verdict
from governance.resources import Resource
from governance.verdicts import Authors
from tenants import isolation
from tenants.principals import Principal


class IntentForeign(Problem):
    """The intent is {tenant}'s, and {current} is acting."""

    code = "intent_foreign"
    status = 500


class RequesterMismatch(Problem):
    """The intent names {named}, and {asking} asks."""

    code = "requester_mismatch"
    status = 500


class DecisionMismatch(Problem):
    """The entry {decision} did not allow this intent."""

    code = "decision_mismatch"
    status = 403


class Allowed(msgspec.Struct, frozen=True):
    """It may take effect, once, as soon as the ledger is as far as the permit awaits.

    `decision_id` is the entry's; `approval` the one that was spent.
    """

    permit: Permit
    decision_id: UUID
    approval: Approval | None = None


class Held(msgspec.Struct, frozen=True):
    """It waits for a vote."""

    approval: Approval
    decision_id: UUID


class Denied(msgspec.Struct, frozen=True):
    """It takes no effect. `code` says why in one word, `reason` in a sentence that can be shown."""

    code: str
    reason: str
    decision_id: UUID


Decision = Allowed | Held | Denied


class _Case(msgspec.Struct, frozen=True):
    """What one decision is about."""

    intent: Intent
    principal: Principal
    resource: Resource
    authors: Authors | None
    evidence: Evidence
    now: datetime
    may_hold: bool


def decide(
    intent: Intent,
    *,
    principal: Principal,
    resource: Resource,
    authors: Authors | None,
    now: datetime,
    evidence: Evidence = (),
    may_hold: bool = True,
) -> Decision:
    """Judges `intent` and records the decision, in the caller's transaction.

    `principal` asks: the requester of the run, or whoever makes the call. `authors` wrote the
    agent and its version (None where no agent acts); `evidence` is a list of {kind, title, text}
    that led to the intent, for the reviewer. With `may_hold` unset nobody can wait: what would be
    held is denied ("approval_needed"), and opens no approval.

    1. Grant and policies are judged now, whatever was approved before; a denial ends it.
    2. An approval of exactly this intent comes next: rejected or over denies, pending holds,
       approved is spent and allows, once.
    3. Without one, the verdict stands; a held intent opens an approval.
    Raises `NotInTransaction`, `NotCanonical`, `IntentForeign`, `RequesterMismatch`.
    """
    _check_belongs(intent, principal)
    case = _Case(intent, principal, resource, authors, evidence, now, may_hold)
    verdict = _judge(case)
    if verdict.outcome == "denied":
        return _deny(case, verdict)
    approval = approvals.standing(intent, now)
    if approval is not None:
        return _by_approval(case, verdict, approval)
    if verdict.outcome == "allowed":
        return _allow(case, verdict, None)
    return _hold(case, verdict)


def renew(
    intent: Intent,
    *,
    decision: UUID,
    principal: Principal,
    resource: Resource,
    authors: Authors | None,
    now: datetime,
    evidence: Evidence = (),
) -> Decision:
    """A new permit in place of one that was lost with its process, after the effect had begun.

    `decision` is the entry that allowed it. MUST only be asked for the same effect under the
    same idempotency key. 1. Grant and policies are judged now; a denial ends it. 2. The ledger
    must say that this intent was allowed. 3. Where it would be held now, only the approval that
    was spent on it will do; else it is decided anew.
    Raises what `decide` raises, `EntryUnknown` and `DecisionMismatch`.
    """
    _check_belongs(intent, principal)
    case = _Case(intent, principal, resource, authors, evidence, now, may_hold=True)
    verdict = _judge(case)
    if verdict.outcome == "denied":
        return _deny(case, verdict)
    spent = _spent_on(intent, principal, decision)
    if verdict.outcome == "held" and spent is None:
        return _anew(case)
    renewed = msgspec.structs.replace(verdict, outcome="allowed", code="renewed")
    return _allow(case, renewed, spent)


def go_on(
    intent: Intent,
    *,
    decision: UUID,
    principal: Principal,
    resource: Resource,
    authors: Authors | None,
    state: states.State,
    now: datetime,
    evidence: Evidence = (),
) -> Decision:
    """The permit of an act that was allowed, and waited for the ledger before anything was done.

    `decision` is the entry that allowed it, and `state` how far the ledger is with it, and with
    the effect's beginning. Nothing is recorded where it stands: a new entry would wait anew.
    1. Grant and policies are judged now; a denial ends it. 2. The ledger must say that this intent
    was allowed. 3. Where it would be held now, only the approval that was spent on it will do;
    else it is decided anew. 4. What the policies ask for now is what the permit awaits.
    Raises what `renew` raises.
    """
    _check_belongs(intent, principal)
    case = _Case(intent, principal, resource, authors, evidence, now, may_hold=True)
    verdict = _judge(case)
    if verdict.outcome == "denied":
        return _deny(case, verdict)
    spent = _spent_on(intent, principal, decision)
    if verdict.outcome == "held" and spent is None:
        return _anew(case)
    permit = permits.mint(intent, decision, awaits=verdict.awaits)
    permit.reached(state)
    return Allowed(permit, decision, spent)


def _anew(case: _Case) -> Decision:
    return decide(
        case.intent,
        principal=case.principal,
        resource=case.resource,
        authors=case.authors,
        evidence=case.evidence,
        now=case.now,
    )


def _spent_on(intent: Intent, principal: Principal, decision: UUID) -> Approval | None:
    """The approval with which the entry `decision` allowed `intent`, if it took one."""
    entry = queries.access_entry(decision)
    event = entry.event
    allowed = entry.kind == events.IntentDecided.kind and event["outcome"] == "allowed"
    if not allowed or event["intent"] != events.commitment_of(intent, principal):
        raise DecisionMismatch(decision=str(decision))
    if event["approval"] is None:
        return None
    return Approval.objects.get(pk=event["approval"], digest=intent.digest)


def _check_belongs(intent: Intent, principal: Principal) -> None:
    if not connection.in_atomic_block:
        raise ledger.NotInTransaction(kind=events.IntentDecided.kind)
    current = isolation.current().slug
    if not intent.tenant == principal.tenant == current:
        raise IntentForeign(tenant=intent.tenant, current=current)
    if intent.principal_kind == "agent":
        return  # somebody else asked for its run
    if (intent.principal_kind, intent.principal) != (principal.kind, principal.id):
        raise RequesterMismatch(named=intent.principal, asking=principal.id)


def _judge(case: _Case) -> Verdict:
    return rehearse(
        case.intent,
        principal=case.principal,
        resource=case.resource,
        authors=case.authors,
        policies=policy_sets.active(),
    )


def rehearse(
    intent: Intent,
    *,
    principal: Principal,
    resource: Resource,
    authors: Authors | None,
    policies: CompiledPolicies | None,
) -> Verdict:
    """What `policies` and the grants of this moment say of `intent`. Nothing is recorded, so this
    MUST NOT be acted on."""
    grant = grants.find(intent.principal, resource) if intent.principal_kind == "agent" else None
    verdict = verdicts.judge(
        policies, intent, resource, asker=principal, authors=authors, grant=grant
    )
    is_witnessed = verdict.awaits != "cosigned" or bool(outside.configured_witnesses())
    return verdicts.witnessed(verdict, is_witnessed=is_witnessed)


def _by_approval(case: _Case, verdict: Verdict, approval: Approval) -> Decision:
    if approvals.expire_one(approval, case.now):
        return _deny(case, _closed(verdict, "approval_expired"), approval)
    if approval.state == State.PENDING:
        waiting = msgspec.structs.replace(verdict, outcome="held", code="approval_pending")
        return _hold(case, waiting, approval)
    if approval.state == State.REJECTED:
        reason = approvals.rejection(approval)
        return _deny(case, _closed(verdict, "rejected"), approval, reason=reason)
    if approval.state != State.APPROVED:
        return _deny(case, _closed(verdict, f"approval_{approval.state}"), approval)
    try:
        spent = approvals.spend(case.intent, verdict=verdict, now=case.now)
    except (
        approvals.AlreadySettled,
        approvals.ApprovalMismatch,
        voting.VoterBarred,
    ) as problem:
        return _deny(case, _closed(verdict, problem.code), approval)
    allowed = msgspec.structs.replace(verdict, outcome="allowed", code="approved")
    return _allow(case, allowed, spent)


def _closed(verdict: Verdict, code: str) -> Verdict:
    return msgspec.structs.replace(verdict, outcome="denied", code=code)


def _open(case: _Case, verdict: Verdict) -> Approval:
    return approvals.open(
        case.intent,
        resource=case.resource,
        verdict=verdict,
        requester=case.principal,
        authors=case.authors,
        evidence=case.evidence,
        now=case.now,
    )


def _allow(case: _Case, verdict: Verdict, approval: Approval | None) -> Allowed:
    entry = _record(case, verdict, approval)
    permit = permits.mint(case.intent, entry, awaits=verdict.awaits)
    return Allowed(permit, entry, approval)


def _hold(case: _Case, verdict: Verdict, approval: Approval | None = None) -> Held | Denied:
    """Wait for `approval`, or a new one; a denial where nobody can, or no row can keep it."""
    if not case.may_hold:
        return _deny(case, verdicts.at_once(verdict), approval)
    if not storable(case.intent.arguments):
        return _deny(case, _closed(verdict, "unstorable"))
    approval = approval or _open(case, verdict)
    return Held(approval, _record(case, verdict, approval))


def _deny(
    case: _Case, verdict: Verdict, approval: Approval | None = None, *, reason: str = ""
) -> Denied:
    entry = _record(case, verdict, approval)
    return Denied(verdict.code, reason or verdicts.explain(verdict), entry)


def _record(case: _Case, verdict: Verdict, approval: Approval | None) -> UUID:
    entry = events.decided(
        case.intent,
        case.resource,
        verdict,
        approval=str(approval.pk) if approval else None,
    )
    run = UUID(case.intent.run) if case.intent.run else None
    actor = events.actor_of(case.intent, case.principal)
    return ledger.record(entry, actor=actor, correlation=run)
