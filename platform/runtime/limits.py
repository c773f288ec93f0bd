"""The only place that says how much a run may take: steps, tokens, money and time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from audit.errors import Problem
from runtime.models import Run

Positive = Annotated[int, msgspec.Meta(ge=1)]


class LimitsInvalid(Problem):
    """The limits are not usable: {reason}"""

    code = "limits_invalid"
    status = 422


class LimitReached(Problem):
    """The run reached its limit of {limit}."""

    code = "limit_reached"
    status = 409


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of one run.

    `seconds` is wall time since it was started, waiting included; a call of a model or a tool that
    still goes on when they are over is cut off.
    """

    steps: Positive = 24
    tokens: Positive = 200_000
    cost_micros: Positive = 1_000_000
    seconds: Positive = 7 * 24 * 3600


def parse(value: dict[str, Any]) -> Limits:
    """The limits in a JSON object; what is left out has its default. Raises LimitsInvalid."""
    try:
        return msgspec.convert(value, type=Limits)
    except msgspec.ValidationError as problem:
        raise LimitsInvalid(reason=str(problem)) from None


def seconds_left(run: Run, *, now: datetime) -> float:
    """How much of its wall time is left to `run`: so long may what it does now take."""
    return parse(run.version.limits).seconds - (now - run.created_at).total_seconds()


def exceeded(run: Run, *, steps: int, now: datetime) -> LimitReached | None:
    """The limit that `run` has reached, or None."""
    limits = parse(run.version.limits)
    used = {
        "steps": (steps, limits.steps),
        "tokens": (run.tokens, limits.tokens),
        "cost_micros": (run.cost_micros, limits.cost_micros),
        "seconds": (int((now - run.created_at).total_seconds()), limits.seconds),
    }
    reached = (name for name, (value, limit) in used.items() if value >= limit)
    return next((LimitReached(limit=name) for name in reached), None)
