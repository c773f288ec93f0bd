"""The only place where a run is watched: in short looks, with nothing held in between.

A look takes a thread and a database connection of a pool for a few milliseconds. Between looks a
watcher is a coroutine alone, so a thousand of them cost next to nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from asgiref.sync import sync_to_async
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer

from api import connections
from api.runs_shown import RunShown, StepShown
from runtime.models import Run, RunState, Step
from tenants import isolation
from tenants.models import Tenant

FIRST_PAUSE = 0.15
LONGEST_PAUSE = 1.0
SIGN_OF_LIFE_SECONDS = 15
LONGEST_SECONDS = 600
RESTING = frozenset({RunState.HELD, RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED})
OVER = RESTING - {RunState.HELD}


class Seen(msgspec.Struct, frozen=True):
    """How much of a run a watcher was shown: the last step, its state, and the run's state.

    A step's successor begins only when it has ended, so this says all. It is an event's id.
    """

    step: int = 0
    step_state: str = "none"
    run_state: str = "none"

    def __str__(self) -> str:
        return f"{self.step}-{self.step_state}-{self.run_state}"

    @classmethod
    def parse(cls, text: str | None) -> Seen:
        """What a Last-Event-ID says; whatever is not one of ours counts as nothing seen."""
        step, _, states = (text or "").partition("-")
        step_state, _, run_state = states.partition("-")
        if not step.isdecimal() or len(step) > 9 or not run_state:
            return cls()
        return cls(int(step), step_state, run_state)


class Look(msgspec.Struct, frozen=True):
    """What is new since `Seen`: (event name, data) in order, and what is seen now."""

    events: list[tuple[Seen, str, Any]]
    seen: Seen


def watch(
    tenant: Tenant, run: UUID, *, last_event_id: str | None, ends: frozenset[str]
) -> HttpResponseBase:
    """The run's steps as an event stream (WHATWG Server-Sent Events), until its state is in `ends`.

    To be called in the request's thread, whose database connection is given back here.
    """
    seen = Seen.parse(last_event_id)
    connections.give_back()
    if seen.run_state in OVER:
        return HttpResponse(status=204)  # which tells a browser not to come back
    return StreamingHttpResponse(
        _stream(tenant, run, seen, ends),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(
    tenant: Tenant, run: UUID, seen: Seen, ends: frozenset[str]
) -> AsyncIterator[str]:
    """Ends with the run, with the client, or after ten minutes: a client resumes where it was."""
    end = monotonic() + LONGEST_SECONDS
    pause, quiet_since = FIRST_PAUSE, monotonic()
    while monotonic() < end:
        look = await sync_to_async(changes, thread_sensitive=False)(tenant, run, seen)
        for at, name, data in look.events:
            yield f"id: {at}\nevent: {name}\ndata: {data}\n\n"
        if look.seen.run_state in ends:
            return
        if look.events:
            pause, quiet_since = FIRST_PAUSE, monotonic()
        elif monotonic() - quiet_since > SIGN_OF_LIFE_SECONDS:
            quiet_since = monotonic()
            yield ": still here\n\n"
        seen = look.seen
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, LONGEST_PAUSE)


async def rested(tenant: Tenant, run: UUID, *, seconds: int) -> dict[str, Any] | None:
    """The run as the API shows it, once it is held or over; None after `seconds`."""
    end, pause = monotonic() + seconds, FIRST_PAUSE / 3
    while True:
        shown = await sync_to_async(_at_rest, thread_sensitive=False)(tenant, run)
        if shown is not None or monotonic() + pause > end:
            return shown
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, LONGEST_PAUSE)


def changes(tenant: Tenant, run: UUID, seen: Seen) -> Look:
    """What happened since `seen`. The run is read first, so when it is over all steps are seen."""
    try:
        with isolation.acting_for(tenant):
            row = Run.objects.select_related("version__agent").get(pk=run)
            steps = list(row.steps.filter(number__gte=seen.step).order_by("number"))
            return _look(row, steps, seen)
    finally:
        connections.give_back()


def _look(run: Run, steps: list[Step], seen: Seen) -> Look:
    events = []
    for step in steps:
        if (step.number, step.state) != (seen.step, seen.step_state):
            seen = msgspec.structs.replace(seen, step=step.number, step_state=step.state)
            events.append((seen, "step", _json(StepShown(step).data)))
    if run.state != seen.run_state:
        seen = msgspec.structs.replace(seen, run_state=run.state)
        events.append((seen, "run", _json(RunShown(run).data)))
    return Look(events, seen)


def _at_rest(tenant: Tenant, run: UUID) -> dict[str, Any] | None:
    try:
        with isolation.acting_for(tenant):
            row = Run.objects.select_related("version__agent").get(pk=run)
            return dict(RunShown(row).data) if row.state in RESTING else None
    finally:
        connections.give_back()


def _json(data: Any) -> str:
    """One line: an event's data ends at a line break."""
    return json.dumps(json.loads(JSONRenderer().render(data)), separators=(",", ":"))
