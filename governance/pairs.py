"""The only place that says which entries tell of policies and approvals (audit.reconciling)."""

from __future__ import annotations

from typing import Any

from django.db.models import Func, QuerySet, TextField

from audit.reconciling import Pair, Rows, key
from governance import events
from governance.models import Approval, PolicySet, State, Vote


def _policy_sets() -> QuerySet[Any, Any]:
    # Of the text itself, and not of what the row says that it is.
    hashed = Func(
        "text",
        template="encode(sha256(convert_to(%(expressions)s, 'UTF8')), 'hex')",
        output_field=TextField(),
    )
    return PolicySet.objects.values_list(key("version", hashed))


def _in(state: State) -> Rows:
    return lambda: Approval.objects.filter(state=state).values_list(key("pk"))


def _votes(verdict: str) -> Rows:
    return lambda: Vote.objects.filter(verdict=verdict).values_list(key("approval_id"))


PAIRS = (
    Pair(
        name="policies",
        rows=_policy_sets,
        begin=(events.PolicyActivated.kind,),
        by=("version", "sha256"),
    ),
    Pair(
        name="approvals",
        rows=lambda: Approval.objects.values_list(key("pk")),
        begin=(events.ApprovalOpened.kind,),
        by=("approval",),
    ),
    Pair(
        name="votes for",
        rows=_votes("approve"),
        begin=(events.ApprovalApproved.kind,),
        by=("approval",),
    ),
    Pair(
        name="votes against",
        rows=_votes("reject"),
        begin=(events.ApprovalRejected.kind,),
        by=("approval",),
    ),
    Pair(
        name="rejected approvals",
        rows=_in(State.REJECTED),
        begin=(events.ApprovalRejected.kind,),
        by=("approval",),
    ),
    Pair(
        name="spent approvals",
        rows=_in(State.SPENT),
        begin=(events.ApprovalSpent.kind,),
        by=("approval",),
    ),
    Pair(
        name="expired approvals",
        rows=_in(State.EXPIRED),
        begin=(events.ApprovalExpired.kind,),
        by=("approval",),
    ),
    Pair(
        name="cancelled approvals",
        rows=_in(State.CANCELLED),
        begin=(events.ApprovalCancelled.kind,),
        by=("approval",),
    ),
)
