"""The only place where an act that is no step of a run is decided, begun, done and recorded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from time import monotonic, sleep
from typing import TypeVar
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction

from audit import ledger, outside
from audit.errors import Problem
from audit.events import Event
from audit.states import LedgerBehind
from gateway.attempts import may_have_acted
from governance import decisions
from governance.events import actor_of, commitment_of
from governance.intents import Intent
from governance.permits import Permit
from governance.verdicts import Authors
from runtime import resources
from runtime.events import (
    EffectBegun,
    EffectEnded,
    EffectFailed,
    EffectUnknown,
    IntentNames,
    names_of,
)
from tenants.principals import Principal

Result = TypeVar("Result")

PAUSE_SECONDS = 0.05


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, for whom, and what its entries have in common.

    `correlation` is the run's id, or one of its own where there is no run. With `may_hold` unset
    nobody can wait for a reviewer, so what would be held is denied.
    """

    intent: Intent
    principal: Principal
    authors: Authors | None
    correlation: UUID
    now: datetime
    may_hold: bool = False


class Done(msgspec.Struct, frozen=True):
    """What came of an act: its SHA-256, and what else is to be recorded of it."""

    outcome_sha256: str
    events: tuple[Event, ...] = ()


class Begun(msgspec.Struct, frozen=True):
    """An act that was allowed, and whose beginning is recorded as the entry `entry`."""

    allowed: decisions.Allowed
    entry: UUID


def begin(act: Act) -> Begun | decisions.Held | decisions.Denied:
    """Decide the act and, where it is allowed, note it as begun: one durable commit.

    A transaction around it is refused (RuntimeError): what it commits must be there before the
    act. Raises what `decisions.decide` raises, and ResourceUnknown.
    """
    with transaction.atomic(durable=True):
        decision = decisions.decide(
            act.intent,
            principal=act.principal,
            resource=resources.asked_for(act.intent),
            authors=act.authors,
            may_hold=act.may_hold,
            now=act.now,
        )
        if not isinstance(decision, decisions.Allowed):
            return decision
        (entry,) = _record(act, EffectBegun(**_names(act, decision)))
    return Begun(decision, entry)


def perform(act: Act, begun: Begun, do: Callable[[Permit], tuple[Result, Done]]) -> Result:
    """Act, with no transaction open, and record how it ended. Raises what `do` raises.

    Where a policy asks that the ledger is further first, it is waited for here; raises LedgerBehind
    where that takes too long. What breaks off in a way that nobody foresaw is recorded as unknown
    before it is raised.
    """
    names = _names(act, begun.allowed)
    ending: Callable[..., Event] = partial(EffectFailed, code="broken_off", **names)
    more: tuple[Event, ...] = ()
    began: float | None = None
    try:
        _wait(begun)
        ending, began = partial(EffectUnknown, code="broken_off", **names), monotonic()
        result, done = do(begun.allowed.permit)
        ending, more = partial(EffectEnded, outcome=done.outcome_sha256, **names), done.events
    except Problem as problem:
        kind = EffectUnknown if may_have_acted(problem) else EffectFailed
        ending = partial(kind, code=problem.code, **names)
        raise
    finally:
        took = None if began is None else round((monotonic() - began) * 1_000)
        with transaction.atomic(durable=True):
            _record(act, *more, ending(latency_ms=took))
    return result


def _wait(begun: Begun) -> None:
    permit, began = begun.allowed.permit, monotonic()
    longest = settings.LEDGER_WAIT_IN_PLACE.total_seconds()
    if permit.awaits == "recorded":
        return
    while not permit.reached(outside.how_far([permit.decision_id, begun.entry])):
        if monotonic() - began > longest:
            raise LedgerBehind(awaits=permit.awaits, seconds=round(longest))
        sleep(PAUSE_SECONDS)


def _names(act: Act, allowed: decisions.Allowed) -> IntentNames:
    return names_of(act.intent, commitment_of(act.intent, act.principal), allowed.decision_id)


def _record(act: Act, *events: Event) -> list[UUID]:
    actor = actor_of(act.intent, act.principal)
    return ledger.record_all(events, actor=actor, correlation=act.correlation)
