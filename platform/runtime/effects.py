"""The only place where a run's intent is governed and performed: decided, begun, done, ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

import msgspec
from django.db import transaction

from audit.states import State
from governance import approvals, decisions
from governance.decisions import Allowed, Denied, Held
from governance.permits import Permit
from runtime import doors, interruptions, leases, limits, resources, waiting
from runtime.events import (
    EffectBegun,
    EffectEnded,
    EffectFailed,
    EffectUnknown,
    IntentNames,
    IntentRefused,
    RunHeld,
)
from runtime.models import Run, RunState, Step, StepState
from runtime.outcomes import Outcome, refusal
from runtime.planning import Refused
from runtime.queries import authors_of, evidence_of, requester_of
from runtime.taking import Taking, agent_principal, idempotency_key, record
from runtime.transcripts import Transcript

MILLISECOND = timedelta(milliseconds=1)


def refuse(run: Run, plan: Refused, transcript: Transcript, *, now: datetime) -> None:
    """Note a proposal that can't be done; the model is told why.

    1. Where it had begun already, before its tool was changed or removed, nobody can tell whether
    it happened. 2. Where it was held, its approval is withdrawn. 3. Where it waited for the ledger,
    it did not happen. Raises LeaseLost.
    """
    number = len(transcript.turns) + 1
    with transaction.atomic():
        leases.confirm(run)
        step = Step.objects.filter(run=run, number=number).first()
        if step is not None and step.state == StepState.BEGUN:
            interruptions.leave_unknown(run, step, now=now)
            return
        if step is not None and step.state == StepState.WAITING:
            waiting.withdraw(run, step, plan.code)
            waiting.be_active(run)
        if step is not None:
            approvals.cancel_of_run(run.pk, by=agent_principal(run), now=now)
        _save_refused(step or Step(run=run, number=number, started_at=now), plan, now)
        offered = any(offer.name == plan.call.name for offer in transcript.offers)
        function = plan.call.name if offered else ""
        record(run, IntentRefused(step=number, function=function, code=plan.code))


def _save_refused(step: Step, plan: Refused, now: datetime) -> None:
    if not step.digest:  # it was never decided: all that is known is what the model wrote
        step.action, step.resource = "refused", plan.call.name[:63]
        step.intent = {"function": plan.call.name, "arguments": plan.call.arguments}
    step.state, step.error_code, step.ended_at = StepState.REFUSED, plan.code, now
    step.turn = msgspec.to_builtins(refusal(plan.call.id, plan.code, plan.message))
    step.save()


def govern(taking: Taking) -> tuple[Step, Permit] | None:
    """Decide the intent and, where it is allowed, note its effect as begun, in one commit.

    Returns the begun step and its permit; None where the run now rests, or the intent was denied.
    A step that waited for the ledger goes on, or rests again: see `_go_on`. A step that a
    crash left begun is taken up again: see `_take_up`. Raises LeaseLost,
    ResourceUnknown where what it asks for was removed, and ToolChanged where it was held, and its
    tool is another now: then nothing of this is kept, and its approval was not used.
    """
    with transaction.atomic(durable=True):
        leases.confirm(taking.run)
        step = taking.row()
        if step is not None and step.state == StepState.BEGUN:
            return _take_up(taking, step)
        if step is not None and step.state == StepState.WAITING:
            return _go_on(taking, step)
        decision = _decide(taking)
        if isinstance(decision, Allowed):
            _check_unchanged(taking, step)
        return _follow(taking, step, decision)


def _check_unchanged(taking: Taking, step: Step | None) -> None:
    if step is not None and step.tool_sha256 != doors.tool_sha256(taking.intent):
        raise doors.ToolChanged(tool=taking.intent.resource)


def _decide(taking: Taking) -> decisions.Decision:
    return decisions.decide(
        taking.intent,
        principal=requester_of(taking.run),
        resource=resources.asked_for(taking.intent),
        authors=authors_of(taking.run.version),
        evidence=evidence_of(taking.transcript),
        now=taking.now,
    )


def _go_on(taking: Taking, step: Step) -> tuple[Step, Permit] | None:
    """Act at last, where the ledger is as far as the policies ask now; else rest again.

    What is denied, or held, by now was begun and did not happen.
    """
    state = waiting.state_of(step)
    if step.decision is None or not waiting.is_far_enough(step, state):
        waiting.rest_again(taking, step)
        return None
    _check_unchanged(taking, step)
    decision = _judged_again(taking, step.decision, state)
    if not isinstance(decision, Allowed) or decision.decision_id != step.decision:
        waiting.withdraw(taking.run, step, "withdrawn")
        waiting.be_active(taking.run)
        return _follow(taking, step, decision)
    if not decision.permit.reached(state):
        step.awaits = decision.permit.awaits
        waiting.rest_again(taking, taking.save(step, StepState.WAITING))
        return None
    waiting.be_active(taking.run)
    return taking.save(step, StepState.BEGUN), decision.permit


def _judged_again(taking: Taking, decision: UUID, state: State) -> decisions.Decision:
    return decisions.go_on(
        taking.intent,
        decision=decision,
        principal=requester_of(taking.run),
        resource=resources.asked_for(taking.intent),
        authors=authors_of(taking.run.version),
        evidence=evidence_of(taking.transcript),
        state=state,
        now=taking.now,
    )


def _take_up(taking: Taking, step: Step) -> tuple[Step, Permit] | None:
    """Go on with an effect that may have happened already, because its process died.

    1. What only reads did no harm: where it can't be tried again as it is, it is decided like
    any other. 2. The rest is tried again where `interruptions` says so and grant and policies
    allow it now, under the same key. 3. Everything else is left unknown.
    In the ledger the try that died ends with the next one under its key, or as unknown.
    """
    harmless = interruptions.did_no_harm(taking, step)
    may_repeat = interruptions.may_be_taken_up(taking, step)
    if not harmless and not may_repeat:
        interruptions.leave_unknown(taking.run, step, now=taking.now)
        return None
    decision = _renew(taking, step) if may_repeat else _decide(taking)
    if isinstance(decision, Allowed):
        return _follow(taking, step, decision)
    if not harmless:
        interruptions.leave_unknown(taking.run, step, now=taking.now)
        return None
    interruptions.record_unknown(taking.run, step)
    return _follow(taking, step, decision)


def _renew(taking: Taking, step: Step) -> decisions.Decision:
    if step.decision is None:
        return _decide(taking)
    return decisions.renew(
        taking.intent,
        decision=step.decision,
        principal=requester_of(taking.run),
        resource=resources.asked_for(taking.intent),
        authors=authors_of(taking.run.version),
        evidence=evidence_of(taking.transcript),
        now=taking.now,
    )


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
    taking.save(
        step,
        StepState.HELD,
        approval=approval,
        decision=decision.decision_id,
        # What the reviewer is shown: if it is held again, it stays that.
        tool_sha256=step.tool_sha256 if step else doors.tool_sha256(taking.intent),
    )
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


def _begin(taking: Taking, step: Step | None, decision: Allowed) -> tuple[Step, Permit] | None:
    awaits = decision.permit.awaits
    attempt = (step.attempts if step else 0) + 1
    begun = taking.save(
        step,
        StepState.BEGUN if awaits == "recorded" else StepState.WAITING,
        decision=decision.decision_id,
        attempts=attempt,
        tool_sha256=doors.tool_sha256(taking.intent),
    )
    event = EffectBegun(
        attempt=attempt,
        idempotency_key=idempotency_key(begun),
        tool_sha256=begun.tool_sha256,
        **taking.names(decision.decision_id),
    )
    entry = taking.record(event)
    if awaits != "recorded":
        waiting.rest(taking, begun, begun=entry, awaits=awaits)
        return None
    return begun, decision.permit


def perform(taking: Taking, step: Step, permit: Permit) -> Outcome:
    """Act, with no transaction open across the network, and record how it ended.

    What still goes on when the run's time is over is cut off. A run that was cancelled meanwhile
    still gets its outcome. Raises LeaseLost where somebody else took the run meanwhile: their
    result stands, and this one is dropped.
    """
    began = monotonic()
    with leases.kept(taking.run, now=taking.now, alone_for=doors.alone_for(taking.intent)):
        outcome = doors.act(
            taking.intent,
            taking.transcript,
            permit,
            step=step,
            key=idempotency_key(step),
            now=taking.now,
            seconds=limits.seconds_left(taking.run, now=taking.now),
        )
    took = timedelta(seconds=monotonic() - began)
    with transaction.atomic(durable=True):
        leases.confirm(taking.run, states=(RunState.ACTIVE, RunState.CANCELLED))
        _end(taking, step, outcome, took)
    return outcome


def _end(taking: Taking, step: Step, outcome: Outcome, took: timedelta) -> None:
    run, usage = taking.run, {"tokens": outcome.tokens, "cost_micros": outcome.cost_micros}
    taking.save(
        step,
        outcome.state,
        turn=msgspec.to_builtins(outcome.turn),
        error_code=outcome.code,
        usage={**outcome.facts, **usage},
        ended_at=taking.now + took,
    )
    run.tokens += outcome.tokens
    run.cost_micros += outcome.cost_micros
    Run.objects.filter(pk=run.pk).update(tokens=run.tokens, cost_micros=run.cost_micros)
    ended = _event(taking.names(step.decision), outcome, took // MILLISECOND)
    taking.record_all([*outcome.events, ended])


def _event(
    names: IntentNames, outcome: Outcome, latency_ms: int
) -> EffectEnded | EffectFailed | EffectUnknown:
    if outcome.happened:
        return EffectEnded(
            outcome=outcome.digest(), reference=outcome.reference, latency_ms=latency_ms, **names
        )
    if outcome.state == StepState.UNKNOWN:
        return EffectUnknown(code=outcome.code or "unknown", latency_ms=latency_ms, **names)
    return EffectFailed(code=outcome.code or "failed", latency_ms=latency_ms, **names)
