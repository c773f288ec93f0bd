"""The only place that reads approvals, policies and grants on somebody's behalf."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from audit.errors import Problem
from governance.models import Approval, PolicySet, State
from tenants.principals import Principal

READERS = ("reviewer", "admin", "auditor")
VOTERS = ("reviewer", "admin")


class ApprovalUnknown(Problem):
    """There is no approval {approval}."""

    code = "approval_unknown"
    status = 404


class PolicyUnknown(Problem):
    """There is no policy version {version}."""

    code = "policy_unknown"
    status = 404


def access_approval(approval: UUID, *, principal: Principal) -> Approval:
    """The approval, for whoever may see it. Raises `ApprovalUnknown`, also where it is hidden."""
    found = approvals(principal=principal).filter(pk=approval).first()
    if found is None:
        raise ApprovalUnknown(approval=str(approval))
    return found


def approvals(*, principal: Principal) -> QuerySet[Approval]:
    """The approvals that `principal` may see, newest first.

    Reviewers, admins and auditors see all of them, everybody else what they asked for.
    """
    rows = Approval.objects.prefetch_related("votes")
    if principal.kind == "member" and principal.has(*READERS):
        return rows
    return rows.filter(requester_kind=principal.kind, requester=principal.id)


def pending(*, principal: Principal) -> QuerySet[Approval]:
    """The approvals that wait for a vote, oldest first."""
    return approvals(principal=principal).filter(state=State.PENDING).order_by("created_at", "id")


def votable(*, principal: Principal) -> QuerySet[Approval]:
    """Those of `pending` that `principal` may settle: what `voting.check_may_vote` lets pass."""
    rows = pending(principal=principal)
    if principal.kind != "member" or not principal.has(*VOTERS):
        return rows.none()
    return rows.exclude(excluded__contains=[principal.id])


def access_policy_set(version: int | None = None, *, principal: Principal) -> PolicySet:
    """A version of the policies, or the one in force. Raises `NotPermitted`, `PolicyUnknown`."""
    principal.require("admin", "builder", "reviewer", "auditor")
    rows = PolicySet.objects.all()
    chosen = rows.filter(active=True) if version is None else rows.filter(version=version)
    found = chosen.first()
    if found is None:
        raise PolicyUnknown(version=version)
    return found


def policy_sets(*, principal: Principal) -> QuerySet[PolicySet]:
    """Every version of the policies, newest first. Raises `NotPermitted`."""
    principal.require("admin", "builder", "reviewer", "auditor")
    return PolicySet.objects.all()
