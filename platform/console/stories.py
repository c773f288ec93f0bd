"""The only place that gathers what the ledger says of one intent: from its decision to its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from audit.errors import Problem
from runtime import ledgers
from tenants.principals import Principal

if TYPE_CHECKING:
    from audit.models import Entry

MOST_READ = 1_000
NEAR = timedelta(days=1)
DECIDED = "intent.decided"
OPENED = "approval.opened"
BEGUN = "effect.begun"
VOTES = ("approval.approved", "approval.rejected")
ENDS = ("effect.ended", "effect.failed", "effect.unknown")

Parts = Mapping[UUID, Mapping[str, Any]]


class NoDecision(Problem):
    """The entry {entry} is no decision, and tells of none."""

    code = "no_decision"
    status = 404


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The entries about one intent, oldest first; `decision` is the one that was asked for.

    `is_cut` says that there was more to look through than is looked through.
    """

    decision: Entry
    entries: list[Entry]
    is_cut: bool

    @property
    def intent(self) -> str:
        """The commitment that stands for the intent."""
        return str(self.decision.event["intent"])

    def of(self, *kinds: str) -> list[Entry]:
        """Its entries of these kinds, oldest first."""
        return [entry for entry in self.entries if entry.kind in kinds]

    @property
    def opened(self) -> Entry | None:
        """The entry that says what a reviewer is shown; None where nobody had to be asked."""
        return next(iter(self.of(OPENED)), None)

    @property
    def end(self) -> Entry | None:
        """The entry that says how the effect ended, if it has."""
        return next(reversed(self.of(*ENDS)), None)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come of the decision."""
        newest = self.of(DECIDED)[-1]
        return self.end is not None or newest.event["outcome"] == "denied"


def decision_of(entry: Entry) -> UUID:
    """The id of the decision that `entry` is, or tells of. Raises NoDecision."""
    if entry.kind == DECIDED:
        return entry.pk
    try:
        return UUID(entry.event.get("decision") or "")
    except (TypeError, ValueError):
        raise NoDecision(entry=str(entry.pk)) from None


def tell(decision: Entry, *, principal: Principal) -> Story:
    """The story of a decision. Entries of one run are told apart by the commitment to the intent;
    a model call, which does not name one, by standing between the effect's beginning and its end.
    """
    found, is_cut = _around(decision, principal)
    ordered = sorted(found.values(), key=lambda entry: (entry.recorded_at, entry.pk))
    intent = decision.event["intent"]
    decisions = {
        str(each.pk) for each in ordered if each.kind == DECIDED and each.event["intent"] == intent
    }
    approvals = {
        each.event["approval"]
        for each in ordered
        if str(each.pk) in decisions and each.event["approval"]
    }
    told, is_under_way = [], False
    for each in ordered:
        event = each.event
        is_own = (
            event.get("intent") == intent
            or event.get("decision") in decisions
            or event.get("approval") in approvals
        )
        if is_own or (is_under_way and each.kind.startswith("model.")):
            told.append(each)
        if is_own and each.kind.startswith("effect."):
            is_under_way = each.kind == BEGUN
    return Story(decision=decision, entries=told, is_cut=is_cut)


def _around(decision: Entry, principal: Principal) -> tuple[dict[UUID, Entry], bool]:
    """The entries among which its story is, by their ids; and whether there are more."""
    if decision.correlation is not None:
        found = _of(decision.correlation, principal)
        return found | {decision.pk: decision}, len(found) >= MOST_READ
    # Outside of a run a decision stands alone: what names its intent is near it in time.
    rows = ledgers.entries(
        principal=principal,
        text=decision.event["intent"],
        after=decision.recorded_at - NEAR,
        before=decision.recorded_at + NEAR,
    )
    found = {each.pk: each for each in rows[:MOST_READ]} | {decision.pk: decision}
    is_cut = len(found) >= MOST_READ
    begun = [each.correlation for each in found.values() if each.kind == BEGUN]
    if begun and begun[0] is not None:
        found |= _of(begun[0], principal)
    return found, is_cut


def _of(correlation: UUID, principal: Principal) -> dict[UUID, Entry]:
    rows = ledgers.entries(principal=principal, correlation=correlation)
    return {each.pk: each for each in rows[:MOST_READ]}
