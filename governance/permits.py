"""The only place for permits: the right to perform one intent, once."""

from __future__ import annotations

from threading import Lock
from typing import NoReturn
from uuid import UUID

from audit import states
from audit.errors import Problem
from audit.states import State
from governance.intents import Intent

_MINT = object()


class PermitSpent(Problem):
    """The permit of decision {decision} was used already."""

    code = "permit_spent"
    status = 409


class PermitMismatch(Problem):
    """The permit of decision {decision} is for another intent."""

    code = "permit_mismatch"
    status = 403


class PermitEarly(Problem):
    """The decision {decision} is to be {awaits} before anything is done, and is {state}."""

    code = "permit_early"
    status = 503


class Permit:
    """The single-use right to perform exactly one intent; every door asks for one and spends it.

    MUST only be constructed by `mint`, and can be neither copied nor pickled: a copy would be
    a second right. `awaits` is how far the ledger must be before it may be spent.
    """

    __slots__ = ("_digest", "_lock", "_spent", "_state", "awaits", "decision_id")

    def __init__(self, *, digest: str, decision_id: UUID, awaits: State, mint: object) -> None:
        if mint is not _MINT:
            raise TypeError("A permit comes from a decision: use governance.permits.mint.")
        self.decision_id = decision_id
        self.awaits = awaits
        self._state: State = "recorded"
        self._digest = digest
        self._spent = False
        self._lock = Lock()

    def reached(self, state: State) -> bool:
        """Note how far the ledger is with the decision, and with the effect's beginning where it
        is recorded; whether that is as far as it must be.
        """
        self._state = states.furthest([self._state, state])
        return states.reaches(self._state, self.awaits)

    def spend(self, intent: Intent) -> None:
        """Use it for `intent`.

        Raises `PermitMismatch`, `PermitEarly` (it stays unused) and `PermitSpent`.
        """
        if intent.digest != self._digest:
            raise PermitMismatch(decision=str(self.decision_id))
        if not states.reaches(self._state, self.awaits):
            raise PermitEarly(decision=str(self.decision_id), awaits=self.awaits, state=self._state)
        with self._lock:
            if self._spent:
                raise PermitSpent(decision=str(self.decision_id))
            self._spent = True

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A permit can't be copied.")


def mint(intent: Intent, decision_id: UUID, *, awaits: State = "recorded") -> Permit:
    """The permit for `intent`, whose decision is recorded as the entry `decision_id`.

    MUST only be called once that entry is durable or in the transaction that the caller commits
    before the effect.
    """
    return Permit(digest=intent.digest, decision_id=decision_id, awaits=awaits, mint=_MINT)
