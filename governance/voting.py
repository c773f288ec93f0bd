"""The only place that says who may vote on an approval, and whether a vote still counts."""

from __future__ import annotations

from audit.errors import Problem
from governance.intents import Intent
from governance.models import Approval
from governance.queries import VOTERS
from governance.verdicts import Authors
from tenants import members
from tenants.keys import issuing
from tenants.principals import NotPermitted, Principal


class RequesterCannotVote(Problem):
    """Whoever asked for it can't vote on the approval {approval}."""

    code = "requester_cannot_vote"
    status = 403


class IssuerCannotVote(Problem):
    """Who issued the key that asked for it can't vote on the approval {approval}."""

    code = "issuer_cannot_vote"
    status = 403


class AuthorCannotVote(Problem):
    """Who wrote the agent, or its version, can't vote on the approval {approval}."""

    code = "author_cannot_vote"
    status = 403


CANNOT_VOTE = (RequesterCannotVote, IssuerCannotVote, AuthorCannotVote)


class VoterBarred(Problem):
    """Whoever gave the approval {approval} could not give it any more."""

    code = "voter_barred"
    status = 403


def excluded(intent: Intent, requester: Principal, authors: Authors | None) -> list[str]:
    """The ids of all who may not vote: who asked, or issued the key that did; for whom it is done;
    who wrote the agent.

    Whoever issued a client app's key has seen its secret, and could have asked with it.
    """
    wrote = {authors.agent, authors.version} if authors else set()
    asked = {requester.id, intent.on_behalf_of}
    if requester.kind == "client_app":
        asked.add(issuing.issuer_of(requester.id))
    return sorted(person for person in asked | wrote if person)


def check_may_vote(approval: Approval, by: Principal) -> None:
    """Only a person with the role votes, and nobody who is excluded.

    Raises `NotPermitted`, and one of `CANNOT_VOTE`.
    """
    if by.kind != "member":
        raise NotPermitted(roles=" or ".join(VOTERS))
    by.require(*VOTERS)
    if by.id not in approval.excluded:
        return
    if by.id in {approval.requester, approval.intent.get("on_behalf_of")}:
        raise RequesterCannotVote(approval=str(approval.pk))
    if by.id == issuing.issuer_of(approval.requester):
        raise IssuerCannotVote(approval=str(approval.pk))
    raise AuthorCannotVote(approval=str(approval.pk))


def check_still_may(approval: Approval) -> None:
    """Whoever approved it is still a member, and may still vote on it. Raises `VoterBarred`."""
    vote = approval.votes.filter(verdict="approve").first()
    voter = members.principal_of(vote.member) if vote else None
    if voter is None:
        raise VoterBarred(approval=str(approval.pk))
    try:
        check_may_vote(approval, voter)
    except (NotPermitted, *CANNOT_VOTE) as problem:
        raise VoterBarred(approval=str(approval.pk)) from problem
