"""The only place for effects whose process died after they had begun: tried again, or unknown."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from audit import queries, subjects
from runtime import doors
from runtime.events import EffectUnknown
from runtime.models import Run, RunState, Step, StepState
from runtime.taking import Taking, agent_actor, record

MOST_ATTEMPTS = 3
CODE = "effect_interrupted"
WHY = "The process that carried it out died, and it can't safely be tried again."


def may_be_taken_up(taking: Taking, step: Step) -> bool:
    """Whether a begun step may be tried again as it is, under the same idempotency key.

    1. The intent is the one that had begun, and its tool is what it was. 2. It reads, or the tool
    honours the key. 3. It did not die three times.
    """
    return (
        step.decision is not None
        and step.digest == taking.intent.digest
        and step.attempts < MOST_ATTEMPTS
        and _is_unchanged(step, taking)
        and doors.may_repeat(taking.intent)
    )


def did_no_harm(taking: Taking, step: Step) -> bool:
    """Whether what had begun only read, so that it may as well be decided anew."""
    reads = _is_unchanged(step, taking) and not doors.writes(taking.intent)
    return step.attempts < MOST_ATTEMPTS and (step.action != "use_tool" or reads)


def _is_unchanged(step: Step, taking: Taking) -> bool:
    return step.tool_sha256 == doors.tool_sha256(taking.intent)


def leave_unknown(run: Run, step: Step, *, now: datetime) -> None:
    """Say that nobody can tell whether the begun step happened, in the caller's transaction."""
    step.state, step.error_code, step.ended_at = StepState.UNKNOWN, CODE, now
    step.usage = {**step.usage, "problem": WHY}
    step.save()
    record_unknown(run, step)


def record_unknown(run: Run, step: Step) -> None:
    """Record that nobody can tell how the step's last try ended, in the caller's transaction.

    Not again, where it waited for so long that this is told already (runtime.unsettled).
    """
    said = queries.entries(kind=EffectUnknown.kind, correlation=run.pk)
    if any(entry.event["decision"] == str(step.decision) for entry in said):
        return
    record(
        run,
        EffectUnknown(
            intent=subjects.of(agent_actor(run).person).commitment(step.intent),
            action=step.action,
            resource=step.resource,
            step=step.number,
            decision=str(step.decision or ""),
            code=CODE,
        ),
    )


def leave_all_unknown(run: Run, *, now: datetime) -> None:
    """The same for each step of the run that is begun, in the caller's transaction."""
    for step in run.steps.filter(state=StepState.BEGUN):
        leave_unknown(run, step, now=now)


def close_cancelled(now: datetime) -> int:
    """End what a cancelled run had begun when its worker died. Returns how many runs there were."""
    dead = Run.objects.filter(
        state=RunState.CANCELLED, steps__state=StepState.BEGUN, lease_until__lt=now
    )
    return sum(_close(run, now) for run in dead.select_related("version__agent").distinct()[:500])


@transaction.atomic
def _close(run: Run, now: datetime) -> bool:
    # Whoever held the lease meets LeaseLost from here on: its outcome comes too late.
    changed = Run.objects.filter(
        pk=run.pk, lease_holder=run.lease_holder, lease_until=run.lease_until
    ).update(lease_holder=None, lease_until=None)
    if changed:
        leave_all_unknown(run, now=now)
    return bool(changed)
