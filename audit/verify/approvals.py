"""The only place that follows approvals: opened, voted on, spent; by whom and under which policy.

On resuming, an approved intent is decided again: `approval.spent`, then `intent.decided` with the
outcome "allowed" and that approval. A permit that was lost is renewed (code "renewed"): a new
decision that names the approval which is spent already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from audit.verify.headers import Header
from audit.verify.report import Findings

# The state of an approval after an entry of this kind.
AFTER = {"approval.approved": "approved", "approval.rejected": "rejected",
         "approval.spent": "spent", "approval.expired": "expired",
         "approval.cancelled": "cancelled"}  # fmt: skip


@dataclass(slots=True)
class Approval:
    """One held intent that waits, or waited."""

    id: str
    intent: str
    shown: str | None
    requester: str
    on_behalf_of: str | None
    correlation: bytes | None
    quorum: int = 1
    approvers: set[str] = field(default_factory=set)
    state: str = "open"
    is_used: bool = False
    is_executed: bool = False


class Policies:
    """Which version of the policies was in force, at each place of the log."""

    def __init__(self, findings: Findings, *, is_pruned: bool) -> None:
        self._findings = findings
        self._is_pruned = is_pruned
        # Each version, and when it came into force.
        self._versions: list[tuple[Any, bytes]] = []

    def activated(self, header: Header) -> None:
        """`policy.activated`."""
        self._versions.append((header.event.get("version"), header.recorded_at))

    def check(self, header: Header) -> None:
        """Whether a vote names the version in force.

        A vote that had begun when another version came into force may name the one before.
        """
        named = header.event.get("policy_version")
        replaced_at = b"\xff"
        for version, activated_at in reversed(self._versions):
            if version == named:
                return
            replaced_at = activated_at
            if replaced_at < header.occurred_at:
                break
        else:
            if self._is_pruned:
                return
        current = self._versions[-1][0] if self._versions else "none"
        what = f"was cast under version {named} of the policies, when {current} was in force"
        self._findings.about("policy_not_in_force", header, what)


class Approvals:
    """All approvals so far, by id, and the latest of each intent."""

    def __init__(self, policies: Policies, findings: Findings, *, is_pruned: bool) -> None:
        self._policies = policies
        self._findings = findings
        self._is_pruned = is_pruned
        self._of: dict[str, Approval] = {}
        self._latest: dict[str, Approval] = {}

    def opened(self, header: Header) -> None:
        """`approval.opened`."""
        event = header.event
        requester = event.get("requester")
        approval = Approval(
            id=str(event.get("approval")),
            intent=str(event.get("intent")),
            shown=event.get("shown"),
            requester=str(requester.get("id")) if isinstance(requester, dict) else "",
            on_behalf_of=header.actor["on_behalf_of"],
            correlation=header.correlation,
            quorum=_number(event.get("quorum")),
        )
        self._of[approval.id] = self._latest[approval.intent] = approval

    def voted(self, header: Header) -> None:
        """`approval.approved` and `approval.rejected`."""
        self._policies.check(header)
        approval = self._known(header)
        if approval is None:
            return
        actor, named = header.actor, f"the approval {approval.id}"
        barred = {approval.requester, approval.on_behalf_of}
        for holds, code, what in (
            (actor["kind"] == "member", "approver_is_no_member", "was cast by no member"),
            (
                actor["id"] not in barred,
                "approver_is_requester",
                f"was cast by {actor['id']}, who asked for it or for whom it is done",
            ),
            (
                header.event.get("shown") == approval.shown,
                "shown_something_else",
                "is a vote on something else than what was opened for review",
            ),
            (
                not approval.is_executed,
                "approval_after_execution",
                f"is a vote on {named}, whose intent was executed before",
            ),
            (
                approval.state == "open",
                "approval_settled_twice",
                f"is a vote on {named}, which was {approval.state}",
            ),
        ):
            self._expect(code, header, what, holds=holds)
        approval.state = AFTER[header.kind.decode()]
        if approval.state == "approved":
            approval.approvers.add(actor["id"])

    def spent(self, header: Header) -> None:
        """`approval.spent`."""
        approval = self._known(header)
        if approval is None:
            return
        if approval.state == "spent":
            what = f"spends the approval {approval.id} a second time"
            self._findings.about("approval_spent_twice", header, what)
        elif approval.state != "approved":
            what = f"spends the approval {approval.id}, which was not approved: {approval.state}"
            self._findings.about("approval_spent_unapproved", header, what)
        elif len(approval.approvers) < approval.quorum:
            what = (
                f"spends the approval {approval.id}, which {len(approval.approvers)} of the"
                f" {approval.quorum} that it needs had given"
            )
            self._findings.about("quorum_not_reached", header, what)
        approval.state = "spent"

    def closed(self, header: Header) -> None:
        """`approval.expired` and `approval.cancelled`."""
        approval = self._known(header)
        if approval is not None:
            approval.state = AFTER[header.kind.decode()]

    def _known(self, header: Header) -> Approval | None:
        approval = self._of.get(str(header.event.get("approval")))
        if approval is None:
            what = "is about an approval that was not opened before"
            self._expect("approval_unknown", header, what, holds=self._is_pruned)
        elif approval.intent != header.event.get("intent"):
            what = f"names another intent than the approval {approval.id} was opened for"
            self._findings.about("approval_of_another_intent", header, what)
        return approval

    def allowed(self, header: Header) -> None:
        """An `intent.decided` that allows it: with an approval that is spent on just that."""
        event = header.event
        if event.get("approval") is None:
            self._check_not_held(header)
            return
        approval = self._known(header)
        if approval is None:
            return
        what = f"allows what waits for the approval {approval.id}, which is {approval.state}"
        self._expect("held_not_approved", header, what, holds=approval.state == "spent")
        what = f"uses the approval {approval.id} a second time"
        is_first = event.get("code") == "renewed" or not approval.is_used
        self._expect("approval_spent_twice", header, what, holds=is_first)
        approval.is_used = True

    def _check_not_held(self, header: Header) -> None:
        approval = self._latest.get(str(header.event.get("intent")))
        if approval is None or approval.correlation is None:
            return
        held = approval.correlation == header.correlation and not approval.is_used
        what = f"allows what waits for the approval {approval.id}, which is {approval.state}"
        self._expect("held_not_approved", header, what, holds=not held)

    def executed(self, intent: str) -> None:
        """An effect of this intent began."""
        approval = self._latest.get(intent)
        if approval is not None:
            approval.is_executed = True

    def _expect(self, code: str, header: Header, what: str, *, holds: bool) -> None:
        if not holds:
            self._findings.about(code, header, what)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 1
