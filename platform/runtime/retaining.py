"""The only place for how long a tenant keeps what is private: for ever, unless a rule says so."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from audit import ledger, retention
from audit.errors import Problem
from audit.events import SYSTEM
from audit.retention import FLOOR_MONTHS
from runtime.events import RetentionChanged
from runtime.models import RetentionRule
from tenants.principals import Principal

MOST_MONTHS = 1_200
MOST_RULES = 100
KIND = re.compile(r"[a-z_]+\.[a-z_]*")


class RetentionInvalid(Problem):
    """The retention can't be so: {reason}."""

    code = "retention_invalid"
    status = 422


def rules(*, principal: Principal) -> dict[str, int]:
    """For how many months private parts are kept, by how the kind begins ("run.").

    Raises NotPermitted.
    """
    principal.require("admin", "auditor")
    return _rules()


def _rules() -> dict[str, int]:
    return dict(RetentionRule.objects.values_list("kind", "months"))


def set_rules(months: Mapping[str, int], *, by: Principal) -> None:
    """Replace all rules. Raises NotPermitted, RetentionInvalid."""
    by.require("admin")
    _check(months)
    with transaction.atomic():
        RetentionRule.objects.all().delete()
        RetentionRule.objects.bulk_create(
            RetentionRule(kind=kind, months=value) for kind, value in months.items()
        )
        ledger.record(RetentionChanged(months=dict(months)), actor=by.actor)


def _check(months: Mapping[str, int]) -> None:
    if len(months) > MOST_RULES:
        raise RetentionInvalid(reason=f"there may be {MOST_RULES} rules")
    for kind, value in months.items():
        if not KIND.fullmatch(kind):
            raise RetentionInvalid(reason=f"{kind!r} is neither a kind nor a beginning of some")
        if not FLOOR_MONTHS <= value <= MOST_MONTHS:
            raise RetentionInvalid(reason=f"{FLOOR_MONTHS} to {MOST_MONTHS} months are kept")
        if any(other != kind and other.startswith(kind) for other in months):
            raise RetentionInvalid(reason=f"two rules are for {kind!r}")


def apply(now: datetime) -> int:
    """Destroy the bodies whose time is over; how many there were."""
    kinds: dict[int, list[str]] = {}
    for kind, months in _rules().items():
        kinds.setdefault(months, []).append(kind)
    count = 0
    for months, beginnings in kinds.items():
        with transaction.atomic():
            moment = months_before(now, months)
            count += retention.apply(beginnings, older_than=moment, actor=SYSTEM)
    return count


def months_before(now: datetime, months: int) -> datetime:
    """The same day of the month, so many months before; the last one of a shorter month."""
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    day = min(now.day, calendar.monthrange(year, month + 1)[1])
    return now.replace(year=year, month=month + 1, day=day)
