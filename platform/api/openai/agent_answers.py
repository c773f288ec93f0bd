"""The only place that answers a chat request from an agent's run: the task is the last message.

The run is durable and goes on in a worker whether or not the client waits; a client that goes
away finds it again under `/api/v1/runs/`. A held run is an answer too: no client waits for days.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec

from api.connections import DATABASE_AWAY, DATABASE_SECONDS, DatabaseUnavailable
from api.kept_answers import StillInProgress
from api.openai import retries
from api.openai.bodies import AGENT, task
from api.openai.callers import Caller
from api.openai.exchange import Exchange, json_of
from api.openai.problems import ModelUnknown, RunFailed
from audit.errors import Problem
from runtime import queries, runs, threads
from runtime.queries import AgentUnknown
from tenants.principals import Principal

FIRST_LOOK_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 600.0
LONGEST_START_SECONDS = 5.0

HELD = "This needs a reviewer's approval before it can go on. The run {run} waits for it."
UNFINISHED = "The run {run} is still under way. Ask for its outcome later."


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a client sees it."""

    run: UUID
    state: str
    version: int
    steps: int
    tokens: int
    cost_micros: int
    created_at: datetime
    answer: dict[str, Any] | None
    failure: dict[str, Any] | None


async def answer(exchange: Exchange, caller: Caller, request: dict[str, Any]) -> None:
    """Answer with the outcome of a run, which starts now or was started by an earlier try.

    Raises ModelUnknown, TaskInvalid, RunFailed, KeyMalformed, KeyReused, StillInProgress, …
    """
    principal, slug = caller.principal, request["model"].removeprefix(AGENT)
    start = partial(_start, slug, task(request), principal)
    made = retries.try_of(exchange, principal, request)

    def begin() -> RunView:
        return _look(retries.once(made, start, exchange), principal)

    async with exchange.while_connected():
        try:
            begun = await _begun(caller, begin)
        except DatabaseUnavailable:
            exchange.give_up()
            raise
        except AgentUnknown:
            raise ModelUnknown(model=request["model"][:100], param="model") from None
        if request.get("stream"):
            await _stream(exchange, caller, request["model"], begun)
        else:
            view = await _outcome(caller, begun)
            await exchange.answer(json_of(_completion(request["model"], view)))


async def _begun(caller: Caller, begin: Callable[[], RunView]) -> RunView:
    """The run, waited for while another try of the same request starts it. StillInProgress."""
    deadline = monotonic() + LONGEST_START_SECONDS
    while True:
        try:
            return await _in_time(caller, begin)
        except StillInProgress:
            if monotonic() > deadline:
                raise
            await asyncio.sleep(FIRST_LOOK_SECONDS)


async def _outcome(caller: Caller, begun: RunView) -> RunView:
    async with aclosing(_looks(caller, begun)) as looks:
        views = [view async for view in looks]
    return views[-1]


async def _stream(exchange: Exchange, caller: Caller, model: str, begun: RunView) -> None:
    """Show that the run goes on with comments, which clients skip, and then its outcome."""
    await exchange.begin_events()
    opening = {"role": "assistant", "content": ""}
    await exchange.event(json_of(_chunk(model, begun, opening)))
    view = begun
    try:
        async with aclosing(_looks(caller, begun)) as looks:
            async for view in looks:
                await exchange.comment(f"run {view.run}: {view.state}, {view.steps} steps")
        spoken = _chunk(model, view, {"content": _words(view)})
        await exchange.event(json_of(spoken))
        await exchange.event(json_of(_chunk(model, view, {}, finish="stop")))
    except Problem as problem:
        await exchange.end_events(problem)
    except DATABASE_AWAY:
        await exchange.end_events(DatabaseUnavailable())
    else:
        await exchange.end_events()


async def _looks(caller: Caller, begun: RunView) -> AsyncGenerator[RunView]:
    """The run again and again, until it rests or is over or the wait is long enough."""
    look = partial(_look, begun.run, caller.principal)
    pause, deadline = FIRST_LOOK_SECONDS, monotonic() + LONGEST_WAIT_SECONDS
    while monotonic() < deadline:
        await asyncio.sleep(pause)
        view = await _in_time(caller, look)
        yield view
        if view.state not in {"active", "waiting"}:
            return
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


async def _in_time(caller: Caller, work: Callable[[], RunView]) -> RunView:
    """What `work` returns, in the caller's tenant. Raises DatabaseUnavailable for a silent one."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            return await threads.acting_for(caller.snapshot.tenant, work)
    except TimeoutError:
        raise DatabaseUnavailable from None


def _start(slug: str, words: str, principal: Principal) -> UUID:
    agent = queries.access_agent(slug, principal=principal)
    return runs.start(words, agent=agent, principal=principal, now=datetime.now(UTC)).pk


def _look(run_id: UUID, principal: Principal) -> RunView:
    run = queries.access_run(run_id, principal=principal)
    return RunView(
        run=run.pk,
        state=run.state,
        version=run.version.number,
        steps=run.steps.count(),
        tokens=run.tokens,
        cost_micros=run.cost_micros,
        created_at=run.created_at,
        answer=run.answer,
        failure=run.failure,
    )


def _words(view: RunView) -> str:
    """What the assistant says. Raises RunFailed for a run that ended without an answer."""
    if view.answer is not None:
        return str(view.answer["text"])
    if view.state in {"failed", "cancelled"}:
        reason = view.failure["message"] if view.failure else "it was ended by somebody."
        ending = "failed" if view.state == "failed" else "was cancelled"
        raise RunFailed(run=str(view.run), ending=ending, reason=reason)
    return (HELD if view.state == "held" else UNFINISHED).format(run=view.run)


def _completion(model: str, view: RunView) -> dict[str, Any]:
    message = {"role": "assistant", "content": _words(view), "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {**_head(model, view, "chat.completion"), "choices": [choice]}


def _chunk(
    model: str, view: RunView, delta: dict[str, Any], *, finish: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_head(model, view, "chat.completion.chunk"), "choices": [choice]}


def _head(model: str, view: RunView, kind: str) -> dict[str, Any]:
    """What answers and chunks have in common; `countersign` is ours."""
    return {
        "id": f"run-{view.run}",
        "object": kind,
        "created": int(view.created_at.timestamp()),
        "model": model,
        "countersign": {
            "run": str(view.run),
            "state": view.state,
            "agent_version": view.version,
            "citations": view.answer.get("citations", []) if view.answer else [],
            "tokens": view.tokens,
            "cost_micros": view.cost_micros,
        },
    }
