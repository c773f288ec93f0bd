"""The only place that says what can come of a performed intent."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from audit.events import Event
from runtime.models import StepState
from runtime.transcripts import CorrectionTurn, ResultTurn, Turn


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an effect: how it ended, what the transcript says, and what it cost.

    `facts` are for the step's row; `events` are recorded before the effect's end; `reference` is
    what the outside calls it.
    """

    state: StepState
    turn: Turn | None
    code: str | None = None
    tokens: int = 0
    cost_micros: int = 0
    facts: dict[str, Any] = {}
    events: tuple[Event, ...] = ()
    reference: str | None = None

    @property
    def happened(self) -> bool:
        """Whether the effect came to its end: a model was asked even if its answer is unusable."""
        return self.state == StepState.ENDED or isinstance(self.turn, CorrectionTurn)

    def digest(self) -> str:
        """Hex SHA-256 of what the transcript says of it: words that the ledger doesn't hold."""
        return hashlib.sha256(msgspec.json.encode(self.turn, order="sorted")).hexdigest()


def refusal(call: str, code: str, message: str) -> ResultTurn:
    """How the model is told that its proposal was not carried out."""
    return ResultTurn(
        call=call, origin="countersign", value={"error": {"code": code, "message": message}}
    )
