"""The only place that starts, carries on, settles and ends runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import ledger
from audit import queries as audit_queries
from audit.errors import Problem
from audit.events import Event, is_id
from governance import approvals
from governance.models import OPEN_STATES, Approval
from runtime import (
    doors,
    effects,
    interruptions,
    leases,
    limits,
    nudges,
    planning,
    taking,
    validation,
    waiting,
)
from runtime.events import RunCancelled, RunCompleted, RunFailed, RunResumed, RunStarted
from runtime.models import Agent, Run, RunState, StepState
from runtime.planning import Finished, Refused
from runtime.queries import latest_version, transcript_of
from runtime.taking import Taking
from runtime.transcripts import CorrectionTurn, Transcript
from tenants import isolation, members
from tenants.principals import Principal

LONGEST_TASK = 100_000
LONGEST_NAME = 200
REPAIRS = 2
GIVERS = ("admin", "builder", "reviewer")
MOST_EXPIRED = 500


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

    Client apps give tasks, and members who do more than read. A member in `on_behalf_of`, by
    address or id, is kept as their id, so they don't vote on what is asked for them. Raises
    NotPermitted, TaskInvalid, AgentUnknown.
    """
    _check_may_give_tasks(principal)
    _check_task(task, on_behalf_of)
    version = latest_version(agent)
    event = RunStarted(
        agent=agent.slug,
        version=version.number,
        task=task,
        requester=f"{principal.kind}:{principal.id}",
    )
    with transaction.atomic():
        run = Run.objects.create(
            version=version,
            task=task,
            requester_kind=principal.kind,
            requester=principal.id,
            on_behalf_of=_known(on_behalf_of),
            created_at=now,
        )
        ledger.record(
            event,
            actor=principal.actor,
            correlation=run.pk,
            person=taking.agent_actor(run).person,
        )
        nudges.after_commit(run.pk)
    return run


def _check_may_give_tasks(principal: Principal) -> None:
    if principal.kind == "member":
        principal.require(*GIVERS)


def _known(name: str | None) -> str | None:
    """A member's id, where the name is a member's address or id; else the name as it is.

    Raises TaskInvalid for what could be an id and is nobody's: in the ledger a name becomes a
    pseudonym, and an id stands as it is.
    """
    found = members.id_of(name) if name is not None else None
    if found is None and name is not None and is_id(name):
        raise TaskInvalid(reason="on_behalf_of looks like an id, and no member here has it")
    return found or name


def _check_task(task: str, on_behalf_of: str | None) -> None:
    if not task.strip() or len(task) > LONGEST_TASK or not _is_text(task):
        raise TaskInvalid(reason=f"it must be 1 to {LONGEST_TASK} characters of text")
    name = "nobody" if on_behalf_of is None else on_behalf_of
    # Each entry of the run names it: the ledger takes a name, not a text of several lines.
    if not name.isprintable() or not 0 < len(name.encode()) <= LONGEST_NAME:
        raise TaskInvalid(reason=f"on_behalf_of must be a name of 1 to {LONGEST_NAME} bytes")


def _is_text(task: str) -> bool:
    """Whether it can be kept: no NUL character, and no half of a surrogate pair."""
    return "\0" not in task and not any("\ud800" <= letter <= "\udfff" for letter in task)


def take_step(run_id: UUID, *, holder: str, now: datetime) -> bool:
    """Take the run's next step, if it is ours to take. Returns whether there may be more to do.

    1. Take the lease; a run that rests, is over or is somebody else's is left alone.
    2. Plan: the next intent follows from the transcript alone; an answer ends the run.
    3. A run that can't go on is ended.
    4. Govern the intent: held, the run rests; denied, the model is told; allowed, it is begun,
       and rests where a policy asks that the ledger is further first.
    5. Perform it and record how it ended.
    A crash at any line leaves rows from which the same step is taken again. Raises LeaseLost.
    """
    run = leases.take(run_id, holder=holder, now=now)
    if run is None:
        return False
    transcript = transcript_of(run, tenant=isolation.current().slug)
    plan = planning.next_intent(transcript)
    if isinstance(plan, Finished):
        return _complete(run, validation.check(plan.answer, transcript), len(transcript.turns), now)
    failure = _why_it_cannot_go_on(run, transcript, now)
    if failure is not None:
        return _fail(run, *failure, now)
    if isinstance(plan, Refused):
        effects.refuse(run, plan, transcript, now=now)
        return True
    return _act(Taking(run=run, intent=plan, transcript=transcript, now=now))


def _act(taken: Taking) -> bool:
    """Govern and perform. What can't even be decided ends the run: taking it again won't help."""
    try:
        begun = effects.govern(taken)
    except leases.LeaseLost:
        raise
    except doors.ToolChanged as problem:
        return _refuse(taken, problem)
    except Problem as problem:
        return _fail(taken.run, problem.code, str(problem), taken.now)
    if begun is not None:
        effects.perform(taken, *begun)
    return True


def _refuse(taken: Taking, problem: Problem) -> bool:
    call = taken.transcript.pending_call()
    if call is None:
        return _fail(taken.run, problem.code, str(problem), taken.now)
    plan = Refused(call, problem.code, str(problem))
    effects.refuse(taken.run, plan, taken.transcript, now=taken.now)
    return True


def _why_it_cannot_go_on(run: Run, transcript: Transcript, now: datetime) -> tuple[str, str] | None:
    """A step without a result, a model that can't be understood, or a limit: its code and words."""
    dead = {StepState.DENIED, StepState.FAILED, StepState.UNKNOWN}
    step = run.steps.filter(turn__isnull=True, state__in=dead).first()
    if step is not None:
        reason = step.usage.get("problem") or " ".join(step.reasons)
        return step.error_code or "step_failed", reason
    if _repairs(transcript) > REPAIRS:
        return "answer_unusable", f"The model's answers could not be used: {_flaw(transcript)}"
    limit = limits.exceeded(run, steps=len(transcript.turns), now=now)
    return (limit.code, str(limit)) if limit else None


def _flaw(transcript: Transcript) -> str:
    """What was wrong with the last answer."""
    last = transcript.turns[-1]
    return last.problem if isinstance(last, CorrectionTurn) else ""


def _repairs(transcript: Transcript) -> int:
    """How many answers in a row could not be used."""
    count = 0
    for turn in reversed(transcript.turns):
        if not isinstance(turn, CorrectionTurn):
            break
        count += 1
    return count


def _complete(run: Run, answer: dict[str, Any], steps: int, now: datetime) -> bool:
    closing = partial(
        RunCompleted,
        steps=steps,
        tokens=run.tokens,
        cost_micros=run.cost_micros,
        answer=answer["text"],
    )
    return _end(run, RunState.COMPLETED, closing, now, answer=answer)


def _fail(run: Run, code: str, message: str, now: datetime) -> bool:
    steps = run.steps.count()
    closing = partial(
        RunFailed, code=code, steps=steps, tokens=run.tokens, cost_micros=run.cost_micros
    )
    return _end(run, RunState.FAILED, closing, now, failure={"code": code, "message": message})


def _end(
    run: Run, state: RunState, closing: Callable[..., Event], now: datetime, **columns: Any
) -> bool:
    """End the run, and what it leaves open: a begun effect is unknown, one that waited for the
    ledger did not happen, and an approval is withdrawn.

    `closing` makes its last entry, of how many entries there are.
    """
    with transaction.atomic():
        leases.confirm(run)
        interruptions.leave_all_unknown(run, now=now)
        waiting.give_up_all(run, "run_ended", now=now)
        approvals.cancel_of_run(run.pk, by=taking.agent_principal(run), now=now)
        Run.objects.filter(pk=run.pk).update(
            state=state, ended_at=now, lease_holder=None, lease_until=None, **columns
        )
        taking.record(run, closing(entries=_entries(run) + 1))
    return False


def _entries(run: Run) -> int:
    """How many entries the run has. The caller holds its row, so none is on its way."""
    return audit_queries.entries(correlation=run.pk).count()


def settle_approval(
    approval: Approval, *, verdict: str, by: Principal, now: datetime, reason: str = ""
) -> Approval:
    """Record a vote, and queue the run that waits for it, in one commit.

    Resuming is taking the same step again, so a rule that changed meanwhile wins. Raises what
    `approvals.approve` and `approvals.reject` raise.
    """
    with transaction.atomic():
        run = _locked(approval)
        if verdict == "approve":
            settled = approvals.approve(approval, by=by, now=now, reason=reason)
        else:
            settled = approvals.reject(approval, by=by, now=now, reason=reason)
        _wake(settled, run)
    return settled


def expire_approvals(now: datetime) -> int:
    """End overdue approvals and wake their runs, which are told so. Returns how many there were."""
    overdue = Approval.objects.filter(state__in=OPEN_STATES, expires_at__lte=now)
    return sum(_expire(approval, now) for approval in overdue.order_by("expires_at")[:MOST_EXPIRED])


@transaction.atomic
def _expire(approval: Approval, now: datetime) -> bool:
    run = _locked(approval)
    is_over = approvals.expire_one(approval, now)
    if is_over:
        _wake(approval, run)
    return is_over


def _locked(approval: Approval) -> Run | None:
    """The run that the approval belongs to, locked.

    Whoever needs both locks the run first and its approvals afterwards, so nobody waits in a ring.
    """
    runs = Run.objects.select_for_update(of=("self",)).select_related("version__agent")
    return runs.filter(pk=approval.run).first() if approval.run else None


def _wake(approval: Approval, run: Run | None) -> None:
    """Make the run active again, if it is this approval that it rests for."""
    if run is None or run.state != RunState.HELD:
        return
    if not run.steps.filter(state=StepState.HELD, approval=approval.pk).exists():
        return
    Run.objects.filter(pk=run.pk).update(state=RunState.ACTIVE)
    taking.record(run, RunResumed(approval=str(approval.pk)))
    nudges.after_commit(run.pk)


def cancel(run: Run, *, by: Principal, now: datetime) -> None:
    """End a run; what it has begun is not undone, and nothing new begins.

    Whoever may give tasks may end those that they see. Raises NotPermitted, RunOver.
    """
    _check_may_give_tasks(by)
    with transaction.atomic():
        unfinished = [RunState.ACTIVE, RunState.WAITING, RunState.HELD]
        changed = Run.objects.filter(pk=run.pk, state__in=unfinished).update(
            state=RunState.CANCELLED,
            ended_at=now,  # the lease stays: what was begun gets its outcome
        )
        if changed != 1:
            run.refresh_from_db()
            raise RunOver(run=str(run.pk), state=run.state)
        waiting.give_up_all(run, "run_cancelled", now=now)
        approvals.cancel_of_run(run.pk, by=by, now=now)
        event = RunCancelled(steps=run.steps.count(), entries=_entries(run) + 1)
        ledger.record(event, actor=by.actor, correlation=run.pk)
