"""The only place where a begun effect waits for the ledger: at rest, in rows, till looked at.

A policy may ask that the decision and the effect's beginning are sealed, or cosigned by a witness,
before anything is done (`@record`). No worker waits for that: the run rests with its step, and is
taken again after a pause. Until then nobody holds its lease, and nobody can take it, so that two
messages about one run become one. Nothing has happened while a step waits: it can be withdrawn.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from audit import outside, states, subjects
from audit.states import LedgerBehind, State
from runtime import nudges
from runtime.events import EffectFailed, EffectUnknown
from runtime.models import Run, RunState, Step, StepState
from runtime.taking import Taking, agent_actor, record

FIRST_PAUSE = timedelta(milliseconds=100)
LONGEST_PAUSE = timedelta(milliseconds=750)
# The message comes after the pause, on a clock that may be another.
SLACK = timedelta(milliseconds=50)


def rest(taking: Taking, step: Step, *, begun: UUID, awaits: State) -> None:
    """Let the step wait until its decision, and the entry `begun` of its effect, are so far."""
    step.begun, step.awaits, step.waits_since = begun, awaits, taking.now
    step.save(update_fields=["begun", "awaits", "waits_since"])
    _look_later(taking.run, step, taking.now)


def state_of(step: Step) -> State:
    """How far the ledger is with what the step waits for."""
    named = [entry for entry in (step.decision, step.begun) if entry is not None]
    return outside.how_far(named)


def is_far_enough(step: Step, state: State) -> bool:
    """Whether `state` is what the step waits for."""
    return states.reaches(state, step.awaits or "cosigned")


def rest_again(taking: Taking, step: Step) -> None:
    """Look later, or end the step where it has waited long enough: then nothing was done."""
    waited = taking.now - (step.waits_since or taking.now)
    if waited < settings.LEDGER_WAIT:
        _look_later(taking.run, step, taking.now)
        return
    seconds = round(settings.LEDGER_WAIT.total_seconds())
    problem = LedgerBehind(awaits=step.awaits or "", seconds=seconds)
    _give_up(taking.run, step, problem.code, str(problem), taking.now)
    be_active(taking.run)


def be_active(run: Run) -> None:
    """The run goes on, with the lease that its worker has."""
    Run.objects.filter(pk=run.pk, state=RunState.WAITING).update(state=RunState.ACTIVE)


def _look_later(run: Run, step: Step, now: datetime) -> None:
    waited = now - (step.waits_since or now)
    pause = min(max(waited / 4, FIRST_PAUSE), LONGEST_PAUSE)
    Run.objects.filter(pk=run.pk).update(
        state=RunState.WAITING, lease_holder=None, lease_until=now + pause
    )
    nudges.after_commit(run.pk, delay=pause + SLACK)


def _give_up(run: Run, step: Step, code: str, why: str, now: datetime) -> None:
    withdraw(run, step, code)
    step.state = StepState.UNKNOWN if _may_have_happened(step) else StepState.FAILED
    step.error_code, step.ended_at = code, now
    step.usage = {**step.usage, "problem": why}
    step.save()


def give_up_all(run: Run, code: str, *, now: datetime) -> None:
    """End what waits in a run that ends, in the caller's transaction."""
    for step in run.steps.filter(state=StepState.WAITING):
        _give_up(run, step, code, "The run ended while it waited for the ledger.", now)


def withdraw(run: Run, step: Step, code: str) -> None:
    """Record that what was begun did not happen, in the caller's transaction.

    Where an earlier try of the step died, nobody can tell.
    """
    kind = EffectUnknown if _may_have_happened(step) else EffectFailed
    record(
        run,
        kind(
            intent=subjects.of(agent_actor(run).person).commitment(step.intent),
            action=step.action,
            resource=step.resource,
            step=step.number,
            decision=str(step.decision or ""),
            code=code,
        ),
    )


def _may_have_happened(step: Step) -> bool:
    return step.attempts > 1 and step.action == "use_tool"
