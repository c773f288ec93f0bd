"""The only place that starts, carries on, settles and ends runs."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import ledger
from audit.errors import Problem
from governance import approvals
from governance.models import Approval
from runtime import effects, leases, limits, nudges, planning, validation
from runtime.effects import Taking
from runtime.events import RunCancelled, RunCompleted, RunFailed, RunResumed, RunStarted
from runtime.models import Agent, Run, RunState, Step, StepState
from runtime.planning import Finished, Refused
from runtime.queries import latest_version, transcript_of
from runtime.resources import ResourceUnknown
from runtime.transcripts import CorrectionTurn, Transcript
from tenants import isolation
from tenants.principals import Principal

LONGEST_TASK = 100_000
REPAIRS = 2


class TaskInvalid(Problem):
    """The task can't be given: {reason}"""

    code = "task_invalid"
    status = 422


class RunOver(Problem):
    """The run {run} is over: it is {state}."""

    code = "run_over"
    status = 409


def start(
    task: str, *, agent: Agent, principal: Principal, now: datetime, on_behalf_of: str | None = None
) -> Run:
    """Give the agent's newest version a task: the run, its entry and the nudge in one commit.

    Raises TaskInvalid, AgentUnknown.
    """
    if not task.strip() or len(task) > LONGEST_TASK or "\0" in task:
        raise TaskInvalid(reason=f"it must be 1 to {LONGEST_TASK} characters of text")
    version = latest_version(agent)
    event = RunStarted(
        agent=agent.slug,
        version=version.number,
        task_sha256=hashlib.sha256(task.encode()).hexdigest(),
        requester=f"{principal.kind}:{principal.id}",
    )
    with transaction.atomic():
        run = Run.objects.create(
            version=version,
            task=task,
            requester_kind=principal.kind,
            requester=principal.id,
            on_behalf_of=on_behalf_of,
            created_at=now,
        )
        ledger.record(event, actor=principal.actor, correlation=run.pk)
        nudges.after_commit(run.pk)
    return run


def take_step(run_id: UUID, *, holder: str, now: datetime) -> bool:
    """Take the run's next step, if it is ours to take. Returns whether there may be more to do.

    1. Take the lease; a run that rests, is over or is somebody else's is left alone.
    2. Read the transcript; a run that can't go on is ended.
    3. Plan: the next intent follows from the transcript alone.
    4. Govern the intent: held, the run rests; denied, the model is told; allowed, it is begun.
    5. Perform it and record how it ended.
    A crash at any line leaves rows from which the same step is taken again. Raises LeaseLost.
    """
    run = leases.take(run_id, holder=holder, now=now)
    if run is None:
        return False
    transcript = transcript_of(run, tenant=isolation.current().slug)
    failure = _why_it_cannot_go_on(run, transcript, now)
    if failure is not None:
        return _fail(run, *failure, now)
    plan = planning.next_intent(transcript)
    if isinstance(plan, Finished):
        return _complete(run, validation.check(plan.answer, transcript), len(transcript.turns), now)
    if isinstance(plan, Refused):
        effects.refuse(run, plan, transcript, now=now)
        return True
    return _act(Taking(run=run, intent=plan, transcript=transcript, now=now))


def _act(taking: Taking) -> bool:
    try:
        begun = effects.govern(taking)
    except ResourceUnknown as problem:
        return _fail(taking.run, problem.code, str(problem), taking.now)
    if begun is not None:
        effects.perform(taking, *begun)
    return True


def _why_it_cannot_go_on(run: Run, transcript: Transcript, now: datetime) -> tuple[str, str] | None:
    """A limit, a model that can't be understood, or a step without a result: its code and words."""
    limit = limits.exceeded(run, steps=len(transcript.turns), now=now)
    if limit is not None:
        return "limit_reached", f"The run reached its limit of {limit}."
    if _repairs(transcript) > REPAIRS:
        return "answer_unusable", "The model's answers could not be used."
    dead = {StepState.DENIED, StepState.FAILED, StepState.UNKNOWN}
    step = Step.objects.filter(run=run, turn=None, state__in=dead).first()
    if step is None:
        return None
    reason = step.usage.get("problem") or " ".join(step.reasons)
    return step.error_code or "step_failed", reason


def _repairs(transcript: Transcript) -> int:
    """How many answers in a row could not be used."""
    count = 0
    for turn in reversed(transcript.turns):
        if not isinstance(turn, CorrectionTurn):
            break
        count += 1
    return count


def _complete(run: Run, answer: dict[str, Any], steps: int, now: datetime) -> bool:
    digest = hashlib.sha256(answer["text"].encode()).hexdigest()
    event = RunCompleted(
        steps=steps, tokens=run.tokens, cost_micros=run.cost_micros, answer_sha256=digest
    )
    return _end(run, RunState.COMPLETED, event, now, answer=answer)


def _fail(run: Run, code: str, message: str, now: datetime) -> bool:
    event = RunFailed(
        code=code, steps=run.steps.count(), tokens=run.tokens, cost_micros=run.cost_micros
    )
    return _end(run, RunState.FAILED, event, now, failure={"code": code, "message": message})


def _end(
    run: Run, state: RunState, event: RunCompleted | RunFailed, now: datetime, **columns: Any
) -> bool:
    with transaction.atomic():
        leases.confirm(run)
        Run.objects.filter(pk=run.pk).update(
            state=state, ended_at=now, lease_holder=None, lease_until=None, **columns
        )
        ledger.record(event, actor=effects.agent_actor(run), correlation=run.pk)
    return False


def settle_approval(
    approval: Approval, *, verdict: str, by: Principal, now: datetime, reason: str = ""
) -> Approval:
    """Record a vote, and queue the run that waits for it, in one commit.

    Resuming is taking the same step again, so a rule that changed meanwhile wins. Raises what
    `approvals.approve` and `approvals.reject` raise.
    """
    with transaction.atomic():
        if verdict == "approve":
            settled = approvals.approve(approval, by=by, now=now, reason=reason)
        else:
            settled = approvals.reject(approval, by=by, now=now, reason=reason)
        _wake(settled)
    return settled


def expire_approvals(now: datetime) -> int:
    """End overdue approvals and wake their runs, which are told so. Returns how many there were."""
    with transaction.atomic():
        expired = approvals.expire(now)
        for approval in expired:
            _wake(approval)
    return len(expired)


def _wake(approval: Approval) -> None:
    if approval.run is None:
        return
    changed = Run.objects.filter(pk=approval.run, state=RunState.HELD).update(state=RunState.ACTIVE)
    if changed:
        run = Run.objects.select_related("version__agent").get(pk=approval.run)
        ledger.record(
            RunResumed(approval=str(approval.pk)),
            actor=effects.agent_actor(run),
            correlation=run.pk,
        )
        nudges.after_commit(approval.run)


def cancel(run: Run, *, by: Principal, now: datetime) -> None:
    """End a run; what it has begun is not undone, and nothing new begins. Raises RunOver."""
    with transaction.atomic():
        unfinished = [RunState.ACTIVE, RunState.HELD]
        changed = Run.objects.filter(pk=run.pk, state__in=unfinished).update(
            state=RunState.CANCELLED,
            ended_at=now,  # the lease stays: what was begun gets its outcome
        )
        if changed != 1:
            run.refresh_from_db()
            raise RunOver(run=str(run.pk), state=run.state)
        approvals.cancel_of_run(run.pk, by=by, now=now)
        ledger.record(RunCancelled(steps=run.steps.count()), actor=by.actor, correlation=run.pk)
