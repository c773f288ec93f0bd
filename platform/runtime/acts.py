"""The only place where an act that is no step of a run is decided, begun, done and recorded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
from django.db import transaction

from audit import ledger
from audit.errors import Problem
from audit.events import Event
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


def begin(act: Act) -> decisions.Decision:
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
        if isinstance(decision, decisions.Allowed):
            _record(act, EffectBegun(**_names(act, decision)))
    return decision


def perform(
    act: Act, allowed: decisions.Allowed, do: Callable[[Permit], tuple[Result, Done]]
) -> Result:
    """Act, with no transaction open, and record how it ended. Raises what `do` raises.

    What breaks off in a way that nobody foresaw is recorded as unknown before it is raised.
    """
    names = _names(act, allowed)
    ending: Event = EffectUnknown(code="broken_off", **names)
    more: tuple[Event, ...] = ()
    try:
        result, done = do(allowed.permit)
        ending, more = EffectEnded(outcome=done.outcome_sha256, **names), done.events
    except Problem as problem:
        kind = EffectUnknown if may_have_acted(problem) else EffectFailed
        ending = kind(code=problem.code, **names)
        raise
    finally:
        with transaction.atomic(durable=True):
            _record(act, *more, ending)
    return result


def _names(act: Act, allowed: decisions.Allowed) -> IntentNames:
    return names_of(act.intent, commitment_of(act.intent, act.principal), allowed.decision_id)


def _record(act: Act, *events: Event) -> None:
    actor = actor_of(act.intent, act.principal)
    for event in events:
        ledger.record(event, actor=actor, correlation=act.correlation)
