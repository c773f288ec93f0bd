"""The only place that holds a step while a worker takes it: its row, its entries, its key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import msgspec

from audit import ledger
from audit.events import Actor, Event
from governance.events import commitment_of
from governance.intents import Intent, as_json
from runtime.events import IntentNames, names_of
from runtime.models import Run, Step, StepState
from runtime.queries import requester_of
from runtime.transcripts import Transcript
from tenants import isolation
from tenants.principals import Principal


class Taking(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The step that is being taken: the run, what it wants to do next, and why."""

    run: Run
    intent: Intent
    transcript: Transcript
    now: datetime

    def row(self) -> Step | None:
        """The step's row, if an earlier taking left one."""
        return Step.objects.filter(run=self.run, number=self.intent.step or 0).first()

    @cached_property
    def commitment(self) -> str:
        """What stands for the intent in its entries: the same from its beginning to its end."""
        return commitment_of(self.intent, requester_of(self.run))

    def record(self, event: Event) -> UUID:
        """Write an entry of this run, in the caller's transaction; its id."""
        return record(self.run, event)

    def record_all(self, events: Sequence[Event]) -> None:
        """Write entries of this run, in this order, in the caller's transaction."""
        ledger.record_all(events, actor=agent_actor(self.run), correlation=self.run.pk)

    def names(self, decision: UUID | None) -> IntentNames:
        """What the entries of the intent's effect say of it, allowed by the entry `decision`."""
        return names_of(self.intent, self.commitment, decision)

    def save(self, step: Step | None, state: StepState, **columns: Any) -> Step:
        """Write the step's row, in the caller's transaction."""
        number = self.intent.step or 0
        step = step or Step(run=self.run, number=number, started_at=self.now)
        named = {
            "action": self.intent.action,
            "resource": self.intent.resource,
            "intent": as_json(self.intent),
            "digest": self.intent.digest,
            "state": state,
        }
        for name, value in {**named, **columns}.items():
            setattr(step, name, value)
        step.save()
        return step


def record(run: Run, event: Event) -> UUID:
    """Write an entry of the run in its agent's name, in the caller's transaction; its id."""
    return ledger.record(event, actor=agent_actor(run), correlation=run.pk)


def idempotency_key(step: Step) -> str:
    """The same over all tries of a step, and of no other."""
    return f"{step.run_id}-{step.number}"


def agent_actor(run: Run) -> Actor:
    """The run's agent, as the ledger names it."""
    version, behalf = run.version, run.on_behalf_of or run.requester
    return Actor(
        kind="agent", id=version.agent.slug, version=str(version.number), on_behalf_of=behalf
    )


def agent_principal(run: Run) -> Principal:
    """The run's agent, as it withdraws what it asked for."""
    agent = run.version.agent
    return Principal(kind="agent", id=agent.slug, name=agent.name, tenant=isolation.current().slug)
