"""The only place that opens, settles and spends approvals.

Each transition is a compare-and-set (filter on the state, update, look at the count) in one
commit with its entry. MUST NOT be bypassed: nobody else writes to an approval's row.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from audit import canonical, ledger, subjects
from audit.bodies import Subject
from audit.entries import rfc3339
from audit.errors import Problem
from audit.events import SYSTEM, Actor, Event
from governance import events, intents, voting
from governance.evidence import Evidence, kept
from governance.intents import Intent
from governance.models import OPEN_STATES, Approval, PolicySet, State, Vote
from governance.policies import Verdict
from governance.resources import Resource
from governance.verdicts import Authors
from tenants.principals import Principal

WAITS = timedelta(days=1)
"""How long an approval may be voted on and used, counted from its opening."""

QUORUM = 1
"""How many must approve: the first vote settles it."""


class VoteNames(TypedDict):
    """What the entry of a vote says of what was voted on."""

    approval: str
    intent: str
    shown: str
    policy_version: int


class AlreadySettled(Problem):
    """The approval {approval} was settled already: it is {state}."""

    code = "already_settled"
    status = 409


class ApprovalExpired(Problem):
    """The approval {approval} expired at {expired_at}."""

    code = "approval_expired"
    status = 409


class ReasonRequired(Problem):
    """Rejecting the approval {approval} needs a reason."""

    code = "reason_required"
    status = 422


class ApprovalMismatch(Problem):
    """The approval {approval} is for another intent."""

    code = "approval_mismatch"
    status = 403


class ApprovalUnusable(Problem):
    """The approval {approval} can't be used: {reason}."""

    code = "approval_unusable"
    status = 403


def open(  # noqa: A001 (an approval is opened)
    intent: Intent,
    *,
    resource: Resource,
    verdict: Verdict,
    requester: Principal,
    authors: Authors | None,
    evidence: Evidence,
    now: datetime,
) -> Approval:
    """A pending approval of exactly `intent`. MUST only be called by `decisions.decide`.

    Neither who asked, nor for whom it is done, nor one of `authors` may vote on it. Where another
    worker opened one for the same intent at the same moment, that one is returned.
    """
    approval = Approval(
        digest=intent.digest,
        intent=intents.as_json(intent),
        action=intent.action,
        resource_kind=resource.kind,
        resource=resource.slug,
        code=verdict.code,
        reasons=list(verdict.reasons),
        policy_version=verdict.policy_version,
        policy_sha256=verdict.policy_sha256,
        evidence=kept(evidence),
        requester_kind=requester.kind,
        requester=requester.id,
        agent=intent.principal if intent.principal_kind == "agent" else "",
        agent_author=authors.agent if authors else "",
        excluded=voting.excluded(intent, requester, authors),
        run=UUID(intent.run) if intent.run else None,
        step=intent.step,
        created_at=now,
        expires_at=now + WAITS,
    )
    try:
        with transaction.atomic():
            approval.save(force_insert=True)
    except IntegrityError:
        return Approval.objects.get(digest=approval.digest, state__in=OPEN_STATES)
    _record(approval, _opened(approval))
    return approval


def standing(intent: Intent, now: datetime) -> Approval | None:
    """The latest approval of exactly this intent that still has a say, or None.

    In a run each has: its intent exists once. Outside of one, the same call may be made again
    after the approval was spent, expired or cancelled, or a rejection is older than it waits.
    """
    # Locked: a vote at this moment is either seen here, or comes after the caller's commit.
    found = _latest(intent).select_for_update().first()
    if found is None or intent.run is not None or found.state in OPEN_STATES:
        return found
    return found if found.state == State.REJECTED and now < found.expires_at else None


@transaction.atomic
def approve(approval: Approval, *, by: Principal, now: datetime, reason: str = "") -> Approval:
    """Settles a pending approval with a yes; it can then be spent once, until it expires.

    Raises what `voting.check_may_vote` raises, `AlreadySettled`, `ApprovalExpired`.
    """
    voting.check_may_vote(approval, by)
    _settle(approval, State.APPROVED, now)
    _vote(approval, "approve", by=by, reason=reason, now=now)
    votes = approval.votes.filter(verdict="approve").count()
    entry = events.ApprovalApproved(
        **_vote_names(approval), reason=reason or None, votes=votes, quorum=QUORUM
    )
    _record_vote(approval, entry, by)
    return approval


@transaction.atomic
def reject(approval: Approval, *, by: Principal, now: datetime, reason: str) -> Approval:
    """Settles a pending approval with a no, for ever; the agent is told the reason.

    Raises what `approve` raises, and `ReasonRequired`.
    """
    voting.check_may_vote(approval, by)
    if not reason.strip():
        raise ReasonRequired(approval=str(approval.pk))
    _settle(approval, State.REJECTED, now)
    _vote(approval, "reject", by=by, reason=reason.strip(), now=now)
    entry = events.ApprovalRejected(**_vote_names(approval), reason=reason.strip())
    _record_vote(approval, entry, by)
    return approval


@transaction.atomic
def expire_one(approval: Approval, now: datetime) -> bool:
    """Ends an open approval whose time is over; False where it was settled meanwhile."""
    before = approval.state
    due = Approval.objects.filter(pk=approval.pk, state=before, expires_at__lte=now)
    if before not in OPEN_STATES or due.update(state=State.EXPIRED, settled_at=now) != 1:
        return False
    approval.state, approval.settled_at = State.EXPIRED, now
    entry = events.ApprovalExpired(
        approval=str(approval.pk), intent=_commitment(approval), state_before=before
    )
    ledger.record(entry, actor=SYSTEM, correlation=approval.run)
    return True


@transaction.atomic
def cancel_of_run(run: UUID, *, by: Principal, now: datetime) -> list[Approval]:
    """Ends the open approvals of a run that is cancelled, and returns them.

    Whether `by` may cancel the run is for the caller to say.
    """
    cancelled = []
    for approval in Approval.objects.filter(run=run, state__in=OPEN_STATES).order_by("id"):
        same = Approval.objects.filter(pk=approval.pk, state__in=OPEN_STATES)
        if same.update(state=State.CANCELLED, settled_at=now) != 1:
            continue
        approval.state, approval.settled_at = State.CANCELLED, now
        entry = events.ApprovalCancelled(approval=str(approval.pk), intent=_commitment(approval))
        ledger.record(entry, actor=by.actor, correlation=run)
        cancelled.append(approval)
    return cancelled


@transaction.atomic
def spend(intent: Intent, *, verdict: Verdict, now: datetime) -> Approval:
    """Uses the approval of `intent`, once. MUST only be called by `decisions.decide`.

    `verdict` is what the policies say of the intent at this moment.
    1. What was frozen must still be this intent: the stored digest and the stored JSON.
    2. A policy that denies it now wins over the approval.
    3. Compare and set approved -> spent, unless it expired; the loser of a race is refused.
    4. Whoever voted must be somebody who may vote now.
    5. Record it, in the same commit.
    Raises `ApprovalUnusable`, `ApprovalMismatch`, `AlreadySettled`, `ApprovalExpired`,
    `VoterBarred`.
    """
    approval = _latest(intent).first()
    if approval is None:
        raise ApprovalUnusable(approval=intent.digest, reason="there is none for this intent")
    if canonical.digest(approval.intent) != intent.digest:
        raise ApprovalMismatch(approval=str(approval.pk))
    if verdict.outcome == "denied":
        raise ApprovalUnusable(approval=str(approval.pk), reason="the policies deny it now")
    ready = Approval.objects.filter(pk=approval.pk, state=State.APPROVED, expires_at__gt=now)
    if ready.update(state=State.SPENT, settled_at=now) != 1:
        raise _why_not(approval, State.APPROVED)
    voting.check_still_may(approval)
    entry = events.ApprovalSpent(approval=str(approval.pk), intent=_commitment(approval))
    _record(approval, entry)
    approval.state, approval.settled_at = State.SPENT, now
    return approval


def rejection(approval: Approval) -> str:
    """The reason that the reviewer gave for a rejection."""
    vote = approval.votes.filter(verdict="reject").first()
    return vote.reason if vote else ""


def _latest(intent: Intent) -> QuerySet[Approval]:
    return Approval.objects.filter(digest=intent.digest).order_by("-created_at", "-id")


def _settle(approval: Approval, state: State, now: datetime) -> None:
    pending = Approval.objects.filter(pk=approval.pk, state=State.PENDING, expires_at__gt=now)
    if pending.update(state=state, settled_at=now) != 1:
        raise _why_not(approval, State.PENDING)
    approval.state, approval.settled_at = state, now


def _why_not(approval: Approval, expected: State) -> Problem:
    """Why the compare-and-set found nothing: somebody was faster, or its time is over."""
    approval.refresh_from_db()
    if approval.state == expected:
        return ApprovalExpired(
            approval=str(approval.pk), expired_at=approval.expires_at.isoformat()
        )
    return AlreadySettled(approval=str(approval.pk), state=approval.state)


def _vote(approval: Approval, verdict: str, *, by: Principal, reason: str, now: datetime) -> None:
    Vote.objects.create(
        approval=approval,
        member=by.id,
        member_name=by.name,
        verdict=verdict,
        reason=reason,
        created_at=now,
    )


def _opened(approval: Approval) -> events.ApprovalOpened:
    return events.ApprovalOpened(
        approval=str(approval.pk),
        intent=_commitment(approval),
        action=approval.action,
        resource=approval.resource,
        requester={"kind": approval.requester_kind, "id": approval.requester},
        shown=_shown(approval),
        policy_version=approval.policy_version,
        expires_at=rfc3339(approval.expires_at),
        quorum=QUORUM,
    )


def _shown(approval: Approval) -> dict[str, Any]:
    """What a reviewer is shown of it."""
    names = ("intent", "code", "reasons", "policy_version", "evidence")
    return {name: getattr(approval, name) for name in names}


def _vote_names(approval: Approval) -> VoteNames:
    """What the entry of a vote says of its approval, and of the policies in force."""
    subject = _subject(approval)
    in_force = PolicySet.objects.filter(active=True).values_list("version", flat=True).first()
    return VoteNames(
        approval=str(approval.pk),
        intent=subject.commitment(approval.intent),
        shown=subject.commitment(_shown(approval)),
        policy_version=in_force or 0,
    )


def _commitment(approval: Approval) -> str:
    """What stands for its intent in the ledger."""
    return _subject(approval).commitment(approval.intent)


def _subject(approval: Approval) -> Subject:
    return subjects.of(_asker(approval).person)


def _asker(approval: Approval) -> Actor:
    """Who wants what is held, as the ledger names them."""
    frozen = approval.intent
    is_agent = frozen["principal_kind"] == "agent"
    return Actor(
        kind=frozen["principal_kind"],
        id=frozen["principal"],
        version=frozen["agent_version"],
        on_behalf_of=frozen["on_behalf_of"] or (approval.requester if is_agent else None),
    )


def _record_vote(approval: Approval, entry: Event, by: Principal) -> None:
    """The reason belongs to the case, and so to the person whose case it is."""
    person = _asker(approval).person
    ledger.record(entry, actor=by.actor, correlation=approval.run, person=person)


def _record(approval: Approval, entry: Event) -> None:
    ledger.record(entry, actor=_asker(approval), correlation=approval.run)
