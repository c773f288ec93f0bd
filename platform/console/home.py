"""The only place for the first page: what waits, what went wrong, and how far the ledger is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db.models import Count
from django.db.models.functions import TruncDate
from django.http import HttpResponse
from django.utils import timezone

from audit import checkpoints
from audit import queries as audit_queries
from console import names, pages, rooms
from console.entrance import enters
from console.pages import MemberRequest
from governance import queries as governance_queries
from retrieval import queries as retrieval_queries
from runtime import ledgers, queries, unsettled
from runtime.models import Run, RunState, Step, StepState
from tenants.principals import Principal

DAYS = 14
SHOWN = 5
CHART_HEIGHT = 110
GROUPS = {
    "good": (RunState.COMPLETED,),
    "bad": (RunState.FAILED,),
    "calm": (RunState.ACTIVE, RunState.WAITING, RunState.HELD, RunState.CANCELLED),
}
"""The parts of a day's bar, lowest first."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A part of one day's column: its place in the chart (from the top), and what it counts."""

    tone: str
    count: int
    y: int
    height: int


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the chart."""

    label: str
    x: int
    total: int
    bars: list[Bar]


@enters("home")
def home(request: MemberRequest) -> HttpResponse:
    """What needs somebody, in the rooms that this member enters."""
    member, now = request.principal, timezone.now()
    context = {
        "days": runs_a_day(now),
        "names": names.known(),
        "live": queries.runs_visible_to(member).filter(
            state__in=(RunState.ACTIVE, RunState.WAITING)
        )[:SHOWN],
        **_waiting(member),
        **_troubles(member, now - timedelta(days=1)),
        **_ledger(member),
    }
    return pages.show(request, "home/home", context)


def _waiting(member: Principal) -> dict[str, Any]:
    if not rooms.named("approvals").is_kept_by(member):
        return {}
    votable = governance_queries.votable(principal=member).defer("evidence")
    return {"votable": votable.prefetch_related(None)[:SHOWN]}


def _troubles(member: Principal, since: datetime) -> dict[str, Any]:
    """What went wrong since then: failed runs, effects nobody knows of, denials, bad documents."""
    failed = queries.runs_visible_to(member).filter(state=RunState.FAILED, ended_at__gte=since)
    steps = Step.objects.filter(started_at__gte=since)
    states = (StepState.UNKNOWN, StepState.DENIED)
    counted = dict(steps.filter(state__in=states).values_list("state").annotate(Count("id")))
    troubles: dict[str, Any] = {
        "failed_runs": failed.order_by("-ended_at")[:SHOWN],
        "unknown_count": counted.get(StepState.UNKNOWN, 0),
        "denied_count": counted.get(StepState.DENIED, 0),
    }
    if rooms.named("ledger").is_open_to(member):
        # What is outside of runs has no rows.
        code = f'"code":"{unsettled.CODE}"'
        lost = audit_queries.entries(kind="effect.unknown", after=since, text=code)
        troubles["lost_count"] = lost.count()
    if rooms.named("documents").is_open_to(member):
        bad = retrieval_queries.documents().filter(state="failed", created_at__gte=since)
        troubles["failed_documents"] = bad[:SHOWN]
    return troubles


def _ledger(member: Principal) -> dict[str, Any]:
    if not rooms.named("ledger").is_open_to(member):
        return {}
    status = audit_queries.status()
    found = status.checkpoint
    root = checkpoints.read(found.note).root.hex() if found else ""
    reconciled = ledgers.reconciled(principal=member)
    return {"ledger": status, "root": root, "reconciled": reconciled}


def runs_a_day(now: datetime) -> list[Day]:
    """The chart's columns, oldest day first: the runs that were started, by what they became."""
    first = now.date() - timedelta(days=DAYS - 1)
    rows = (
        Run.objects.filter(created_at__date__gte=first)
        .annotate(day=TruncDate("created_at"))
        .values_list("day", "state")
        .annotate(Count("id"))
    )
    counted = {(day, state): count for day, state, count in rows}
    dates = [first + timedelta(days=number) for number in range(DAYS)]
    groups = [
        {tone: sum(counted.get((day, s), 0) for s in states) for tone, states in GROUPS.items()}
        for day in dates
    ]
    highest = max([sum(group.values()) for group in groups] + [1])
    return [
        _column(number, day.strftime("%m-%d"), group, highest)
        for number, (day, group) in enumerate(zip(dates, groups, strict=True))
    ]


def _column(number: int, label: str, group: dict[str, int], highest: int) -> Day:
    bars, top = [], CHART_HEIGHT
    for tone, count in group.items():
        height = round(count * CHART_HEIGHT / highest)
        top -= height
        bars.append(Bar(tone=tone, count=count, y=top, height=height))
    return Day(label=label, x=number * 22, total=sum(group.values()), bars=bars)
