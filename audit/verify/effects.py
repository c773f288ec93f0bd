"""The only place that follows what was done: decided before, as decided, and with one outcome.

An effect names the entry that allowed it. An effect that is begun again under the same idempotency
key, as a later attempt, takes the place of the one whose process died.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from audit.verify.approvals import Approvals
from audit.verify.grants import Grants
from audit.verify.headers import Header, time_between
from audit.verify.report import Findings
from audit.verify.runs import Runs

LONGEST_EFFECT = timedelta(hours=1)
"""After so long without an outcome, in the ledger's own time, an effect must be called unknown."""


class Decided(NamedTuple):
    """A decision that allowed something: what, and whether a reviewer had approved it."""

    intent: str
    is_approved: bool


class Effect(NamedTuple):
    """An effect that has begun: where it stands, and for what."""

    at: int
    id: str
    kind: str
    intent: str
    begun_at: bytes
    correlation: bytes | None
    key: str | None
    attempt: int


class Effects:
    """The decisions that nobody used yet, and the effects that have no outcome yet."""

    def __init__(
        self,
        grants: Grants,
        approvals: Approvals,
        runs: Runs,
        findings: Findings,
        *,
        is_pruned: bool,
    ) -> None:
        self._grants = grants
        self._approvals = approvals
        self._runs = runs
        self._findings = findings
        self._is_pruned = is_pruned
        self._allowed: dict[str, Decided] = {}
        self._refused: set[str] = set()
        self._used: set[str] = set()
        # By the id of the decision that each names.
        self._open: dict[str, Effect] = {}
        self._unknown: dict[str, str] = {}
        self._early: dict[str, Effect] = {}
        # The decision of the open effect with this idempotency key.
        self._with_key: dict[str, str] = {}

    def decided(self, header: Header) -> None:
        """`intent.decided`."""
        event = header.event
        self._grants.check(header)
        early = self._early.pop(header.id, None)
        if early is not None:
            what = f"was begun before the entry at index {header.index} decided it"
            self._findings.at("effect_before_decision", early.at, early.id, early.kind, what)
        if event.get("outcome") != "allowed":
            self._refused.add(header.id)
            return
        self._approvals.allowed(header)
        if early is not None:
            self._used.add(header.id)
            return
        is_approved = event.get("approval") is not None
        self._allowed[header.id] = Decided(str(event.get("intent")), is_approved)

    def begun(self, header: Header) -> None:
        """`effect.begun`."""
        event = header.event
        decision, intent = str(event.get("decision")), str(event.get("intent"))
        key, attempt = event.get("idempotency_key"), event.get("attempt")
        effect = Effect(
            header.index, header.id, header.kind.decode(), intent, header.recorded_at,
            header.correlation, key if isinstance(key, str) else None,
            attempt if isinstance(attempt, int) else 1,
        )  # fmt: skip
        decided = self._allowed.pop(decision, None)
        if decided is None:
            self._undecided(decision, effect, header)
        elif decided.intent != intent:
            code = "executed_not_approved" if decided.is_approved else "executed_not_decided"
            word = "approved" if decided.is_approved else "decided"
            what = f"executes another intent, or other arguments, than the entry {decision} {word}"
            self._findings.about(code, header, what)
        self._used.add(decision)
        self._approvals.executed(intent)
        self._take_up(effect, header)
        self._runs.begin(header)
        self._open[decision] = effect

    def _undecided(self, decision: str, effect: Effect, header: Header) -> None:
        if decision in self._used or decision in self._open:
            what = f"rests on the decision {decision}, which was used before"
            self._findings.about("decision_used_twice", header, what)
        elif decision in self._refused:
            what = f"rests on the decision {decision}, which did not allow it"
            self._findings.about("effect_not_allowed", header, what)
        else:
            self._early[decision] = effect

    def _take_up(self, effect: Effect, header: Header) -> None:
        """Where an earlier attempt is still open, it ends here."""
        if effect.key is None:
            return
        decision = self._with_key.get(effect.key, "")
        earlier = self._open.get(decision)
        self._with_key[effect.key] = str(header.event.get("decision"))
        if earlier is None:
            return
        if effect.attempt > earlier.attempt and effect.intent == earlier.intent:
            del self._open[decision]
            self._runs.end(earlier.correlation)
        else:
            what = f"begins again what the entry at index {earlier.at} had begun"
            self._findings.about("effect_begun_twice", header, what)

    def ended(self, header: Header) -> None:
        """`effect.ended`, `effect.failed` and `effect.unknown`."""
        event = header.event
        decision, intent = str(event.get("decision")), event.get("intent")
        effect = self._open.pop(decision, None)
        expected = effect.intent if effect else self._unknown.pop(decision, None)
        if expected is None and self._was_on_its_way(header, decision):
            return
        if expected is None:
            if not self._is_pruned:
                what = f"is the outcome of an effect that was not begun (decision {decision})"
                self._findings.about("outcome_without_effect", header, what)
        elif expected != intent:
            what = "is the outcome of another intent than was begun"
            self._findings.about("outcome_of_another_intent", header, what)
        if effect is not None:
            self._runs.end(effect.correlation)
            self._with_key.pop(effect.key or "", None)
        if header.kind == b"effect.unknown" and isinstance(intent, str):
            # It may be found out later.
            self._unknown[decision] = intent

    def _was_on_its_way(self, header: Header, decision: str) -> bool:
        """Whether somebody said of an effect that it has no outcome, as that was just recorded."""
        is_unknown = header.kind == b"effect.unknown"
        return is_unknown and header.event.get("code") == "no_outcome" and decision in self._used

    def finish(self, last_at: bytes) -> None:
        """What never got its decision, or its outcome, until `last_at` in the ledger's time."""
        for decision, effect in self._early.items():
            if not self._is_pruned:
                what = f"was begun, and no entry decided it (it names the decision {decision!r})"
                self._findings.at("effect_without_decision", *effect[:3], what)
        for effect in self._open.values():
            if time_between(effect.begun_at, last_at) > LONGEST_EFFECT:
                what = "was begun, and has no outcome after an hour"
                self._findings.at("effect_without_outcome", *effect[:3], what)
