"""The only place where an intent of a run is governed and performed: decided, begun, done, ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from time import monotonic

import msgspec
from django.db import transaction

from audit import ledger
from audit.events import Actor
from governance import decisions
from governance.decisions import Allowed, Denied, Held
from governance.intents import Intent, as_json
from governance.permits import Permit
from runtime import doors, leases, resources
from runtime.events import (
    EffectBegun,
    EffectEnded,
    EffectFailed,
    EffectUnknown,
    IntentRefused,
    RunHeld,
)
from runtime.models import Run, RunState, Step, StepState
from runtime.outcomes import Outcome, refusal
from runtime.planning import Refused
from runtime.queries import evidence_of, requester_of
from runtime.transcripts import Transcript, Turn


def refuse(run: Run, plan: Refused, transcript: Transcript, *, now: datetime) -> None:
    """Note a proposal that is no intent; the model is told why."""
    number = len(transcript.turns) + 1
    event = IntentRefused(step=number, function=plan.call.name[:100], code=plan.code)
    with transaction.atomic():
        leases.confirm(run)
        Step.objects.create(
            run=run,
            number=number,
            action="refused",
            resource=plan.call.name[:63],
            intent={"function": plan.call.name, "arguments": plan.call.arguments},
            digest="",
            state=StepState.REFUSED,
            error_code=plan.code,
            turn=_stored(refusal(plan.call.id, plan.code, plan.message)),
            started_at=now,
            ended_at=now,
        )
        ledger.record(event, actor=agent_actor(run), correlation=run.pk)


def govern(
    run: Run, intent: Intent, transcript: Transcript, *, now: datetime
) -> tuple[Step, Permit] | None:
    """Decide the intent and, where it is allowed, note its effect as begun, in one durable commit.

    Returns the begun step and its permit; None where the run now rests (held) or the intent was
    denied. A step that a crash left begun is renewed: the same intent, the same idempotency key.
    Raises LeaseLost.
    """
    with transaction.atomic():
        leases.confirm(run)
        step = Step.objects.filter(run=run, number=intent.step).first()
        decision = _decide(run, intent, transcript, step, now)
        if isinstance(decision, Held):
            _rest(run, intent, step, decision, now)
            return None
        if isinstance(decision, Denied):
            _deny(run, intent, step, decision, transcript, now)
            return None
        return _begin(run, intent, step, decision, now), decision.permit


def _decide(
    run: Run, intent: Intent, transcript: Transcript, step: Step | None, now: datetime
) -> decisions.Decision:
    asked = {
        "principal": requester_of(run),
        "resource": resources.asked_for(intent),
        "author": str(run.version.agent.author),
        "now": now,
    }
    if step is not None and step.state == StepState.BEGUN and step.decision is not None:
        return decisions.renew(intent, decision=step.decision, **asked)
    return decisions.decide(intent, evidence=evidence_of(transcript), **asked)


def _rest(run: Run, intent: Intent, step: Step | None, decision: Held, now: datetime) -> None:
    _save(
        run,
        intent,
        step,
        StepState.HELD,
        now,
        approval=decision.approval.pk,
        decision=decision.decision_id,
    )
    Run.objects.filter(pk=run.pk).update(state=RunState.HELD, lease_holder=None, lease_until=None)
    event = RunHeld(approval=str(decision.approval.pk), step=intent.step or 0)
    ledger.record(event, actor=agent_actor(run), correlation=run.pk)


def _deny(
    run: Run,
    intent: Intent,
    step: Step | None,
    decision: Denied,
    transcript: Transcript,
    now: datetime,
) -> None:
    call = transcript.pending_call()
    turn = _stored(refusal(call.id, decision.code, decision.reason)) if call else None
    _save(
        run,
        intent,
        step,
        StepState.DENIED,
        now,
        decision=decision.decision_id,
        reasons=[decision.reason],
        error_code=decision.code,
        turn=turn,
        ended_at=now,
    )


def _begin(run: Run, intent: Intent, step: Step | None, decision: Allowed, now: datetime) -> Step:
    attempts = (step.attempts if step else 0) + 1
    begun = _save(
        run, intent, step, StepState.BEGUN, now, decision=decision.decision_id, attempts=attempts
    )
    event = EffectBegun(attempt=attempts, idempotency_key=idempotency_key(begun), **_names(intent))
    ledger.record(event, actor=agent_actor(run), correlation=run.pk)
    return begun


def _save(
    run: Run, intent: Intent, step: Step | None, state: StepState, now: datetime, **more: object
) -> Step:
    step = step or Step(run=run, number=intent.step, started_at=now)
    columns = {
        "action": intent.action,
        "resource": intent.resource,
        "intent": as_json(intent),
        "digest": intent.digest,
        "state": state,
        **more,
    }
    for name, value in columns.items():
        setattr(step, name, value)
    step.save()
    return step


def perform(
    run: Run, step: Step, intent: Intent, transcript: Transcript, permit: Permit, *, now: datetime
) -> Outcome:
    """Act, with no transaction open across the network, and record how it ended.

    `now` is when it began. Raises LeaseLost where somebody else took the run meanwhile: their
    result stands, and this one is dropped.
    """
    leases.keep(run, until=leases.long_enough(now, doors.longest(intent)))
    began = monotonic()
    outcome = doors.act(intent, transcript, permit, run=run, key=idempotency_key(step), now=now)
    with transaction.atomic():
        leases.confirm(run)
        step.state = outcome.state
        step.turn = _stored(outcome.turn) if outcome.turn else None
        step.error_code = outcome.code
        step.usage = {"tokens": outcome.tokens, "cost_micros": outcome.cost_micros, **outcome.facts}
        step.ended_at = now + timedelta(seconds=monotonic() - began)
        step.save()
        run.tokens += outcome.tokens
        run.cost_micros += outcome.cost_micros
        Run.objects.filter(pk=run.pk).update(tokens=run.tokens, cost_micros=run.cost_micros)
        ledger.record(_event(intent, outcome), actor=agent_actor(run), correlation=run.pk)
    return outcome


def _event(intent: Intent, outcome: Outcome) -> EffectEnded | EffectFailed | EffectUnknown:
    if outcome.state == StepState.ENDED:
        return EffectEnded(outcome_sha256=outcome.digest(), facts=outcome.facts, **_names(intent))
    kind = EffectUnknown if outcome.state == StepState.UNKNOWN else EffectFailed
    return kind(code=outcome.code or "unknown", **_names(intent))


def _names(intent: Intent) -> dict[str, object]:
    return {
        "digest": intent.digest,
        "action": intent.action,
        "resource": intent.resource,
        "step": intent.step,
    }


def idempotency_key(step: Step) -> str:
    """The same over all tries of a step, and of no other."""
    return f"{step.run_id}-{step.number}"


def agent_actor(run: Run) -> Actor:
    """The run's agent, as the ledger names it."""
    version = run.version
    return Actor(
        kind="agent",
        id=version.agent.slug,
        version=str(version.number),
        on_behalf_of=run.on_behalf_of or run.requester,
    )


def _stored(turn: Turn) -> object:
    return msgspec.to_builtins(turn)
