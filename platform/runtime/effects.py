"""The only place where a run's intent is governed and performed: decided, begun, done, ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import msgspec
from django.db import transaction

from audit import ledger
from audit.events import Actor, Event
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
    names_of,
)
from runtime.models import Run, RunState, Step, StepState
from runtime.outcomes import Outcome, refusal
from runtime.planning import Refused
from runtime.queries import evidence_of, requester_of
from runtime.transcripts import Transcript

MOST_ATTEMPTS = 3


class Taking(msgspec.Struct, frozen=True, kw_only=True):
    """The step that is being taken: the run, what it wants to do next, and why."""

    run: Run
    intent: Intent
    transcript: Transcript
    now: datetime

    @property
    def actor(self) -> Actor:
        """The run's agent, as the ledger names it."""
        return agent_actor(self.run)

    def record(self, event: Event) -> None:
        """Write an entry of this run, in the caller's transaction."""
        ledger.record(event, actor=self.actor, correlation=self.run.pk)

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


def refuse(run: Run, plan: Refused, transcript: Transcript, *, now: datetime) -> None:
    """Note a proposal that is no intent; the model is told why. Raises LeaseLost."""
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
            turn=msgspec.to_builtins(refusal(plan.call.id, plan.code, plan.message)),
            started_at=now,
            ended_at=now,
        )
        ledger.record(event, actor=agent_actor(run), correlation=run.pk)


def govern(taking: Taking) -> tuple[Step, Permit] | None:
    """Decide the intent and, where it is allowed, note its effect as begun, in one commit.

    Returns the begun step and its permit; None where the run now rests, or the intent was denied.
    A step that a crash left begun is taken up again: see `_take_up`. Raises LeaseLost, and
    ResourceUnknown where what it asks for was removed.
    """
    with transaction.atomic():
        leases.confirm(taking.run)
        step = Step.objects.filter(run=taking.run, number=taking.intent.step or 0).first()
        if step is not None and step.state == StepState.BEGUN:
            return _take_up(taking, step)
        return _follow(taking, step, _decide(taking))


def _decide(taking: Taking) -> decisions.Decision:
    return decisions.decide(
        taking.intent,
        principal=requester_of(taking.run),
        resource=resources.asked_for(taking.intent),
        author=str(taking.run.version.agent.author),
        evidence=evidence_of(taking.transcript),
        now=taking.now,
    )


def _take_up(taking: Taking, step: Step) -> tuple[Step, Permit] | None:
    """Go on with an effect that may have happened already, because its process died.

    1. It is only tried again where a second try does no harm: it reads, or the tool honours the
    Idempotency-Key, which stays the same. 2. Grant and policies are judged now. 3. Everything
    else leaves it unknown.
    """
    if (
        step.decision is not None
        and step.attempts < MOST_ATTEMPTS
        and doors.may_repeat(taking.intent)
    ):
        decision = decisions.renew(
            taking.intent,
            decision=step.decision,
            principal=requester_of(taking.run),
            resource=resources.asked_for(taking.intent),
            author=str(taking.run.version.agent.author),
            now=taking.now,
        )
        if isinstance(decision, Allowed):
            return _begin(taking, step, decision)
    why = "The process that carried it out died, and it can't safely be tried again."
    taking.save(
        step,
        StepState.UNKNOWN,
        error_code="effect_interrupted",
        usage={"problem": why},
        ended_at=taking.now,
    )
    taking.record(EffectUnknown(code="effect_interrupted", **names_of(taking.intent)))
    return None


def _follow(
    taking: Taking, step: Step | None, decision: decisions.Decision
) -> tuple[Step, Permit] | None:
    if isinstance(decision, Allowed):
        return _begin(taking, step, decision)
    if isinstance(decision, Held):
        _rest(taking, step, decision)
    else:
        _deny(taking, step, decision)
    return None


def _rest(taking: Taking, step: Step | None, decision: Held) -> None:
    approval = decision.approval.pk
    taking.save(step, StepState.HELD, approval=approval, decision=decision.decision_id)
    Run.objects.filter(pk=taking.run.pk).update(
        state=RunState.HELD, lease_holder=None, lease_until=None
    )
    taking.record(RunHeld(approval=str(approval), step=taking.intent.step or 0))


def _deny(taking: Taking, step: Step | None, decision: Denied) -> None:
    call = taking.transcript.pending_call()
    turn = refusal(call.id, decision.code, decision.reason) if call else None
    taking.save(
        step,
        StepState.DENIED,
        decision=decision.decision_id,
        reasons=[decision.reason],
        error_code=decision.code,
        turn=msgspec.to_builtins(turn),
        ended_at=taking.now,
    )


def _begin(taking: Taking, step: Step | None, decision: Allowed) -> tuple[Step, Permit]:
    attempt = (step.attempts if step else 0) + 1
    begun = taking.save(step, StepState.BEGUN, decision=decision.decision_id, attempts=attempt)
    key = idempotency_key(begun)
    taking.record(EffectBegun(attempt=attempt, idempotency_key=key, **names_of(taking.intent)))
    return begun, decision.permit


def perform(taking: Taking, step: Step, permit: Permit) -> Outcome:
    """Act, with no transaction open across the network, and record how it ended.

    A run that was cancelled meanwhile still gets its outcome. Raises LeaseLost where somebody
    else took the run meanwhile: their result stands, and this one is dropped.
    """
    seconds = doors.longest(taking.intent)
    leases.keep(taking.run, until=leases.long_enough(taking.now, seconds))
    began = monotonic()
    outcome = doors.act(
        taking.intent,
        taking.transcript,
        permit,
        run=taking.run,
        key=idempotency_key(step),
        now=taking.now,
    )
    ended_at = taking.now + timedelta(seconds=monotonic() - began)
    with transaction.atomic():
        leases.confirm(taking.run, states=(RunState.ACTIVE, RunState.CANCELLED))
        _end(taking, step, outcome, ended_at)
    return outcome


def _end(taking: Taking, step: Step, outcome: Outcome, ended_at: datetime) -> None:
    run, usage = taking.run, {"tokens": outcome.tokens, "cost_micros": outcome.cost_micros}
    taking.save(
        step,
        outcome.state,
        turn=msgspec.to_builtins(outcome.turn),
        error_code=outcome.code,
        usage={**outcome.facts, **usage},
        ended_at=ended_at,
    )
    run.tokens += outcome.tokens
    run.cost_micros += outcome.cost_micros
    Run.objects.filter(pk=run.pk).update(tokens=run.tokens, cost_micros=run.cost_micros)
    taking.record(_event(taking.intent, outcome))


def _event(intent: Intent, outcome: Outcome) -> EffectEnded | EffectFailed | EffectUnknown:
    names = names_of(intent)
    if outcome.state == StepState.ENDED:
        return EffectEnded(outcome_sha256=outcome.digest(), facts=outcome.facts, **names)
    if outcome.state == StepState.UNKNOWN:
        return EffectUnknown(code=outcome.code or "unknown", **names)
    return EffectFailed(code=outcome.code or "failed", **names)


def idempotency_key(step: Step) -> str:
    """The same over all tries of a step, and of no other."""
    return f"{step.run_id}-{step.number}"


def agent_actor(run: Run) -> Actor:
    """The run's agent, as the ledger names it."""
    version, behalf = run.version, run.on_behalf_of or run.requester
    return Actor(
        kind="agent", id=version.agent.slug, version=str(version.number), on_behalf_of=behalf
    )
