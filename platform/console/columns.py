"""The only place for the chart of the ledger: how many entries were recorded, over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from django.db.models import QuerySet

from audit import counting
from audit.counting import Counted
from console.narrowing import Narrowing

if TYPE_CHECKING:
    from audit.models import Entry

MOST_COUNTED = 100_000
MOST_COLUMNS = 60
HEIGHT = 60
EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
STEPS = {
    timedelta(seconds=1): "second",
    timedelta(seconds=10): "10 seconds",
    timedelta(minutes=1): "minute",
    timedelta(minutes=5): "5 minutes",
    timedelta(minutes=30): "half hour",
    timedelta(hours=1): "hour",
    timedelta(hours=3): "3 hours",
    timedelta(hours=12): "12 hours",
    timedelta(days=1): "day",
    timedelta(days=7): "week",
    timedelta(days=28): "4 weeks",
    timedelta(days=364): "year",
}


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one step of time, and the address's query that asks for them."""

    begin: datetime
    count: int
    x: int
    height: int
    query: str

    @property
    def y(self) -> int:
        """Where the bar begins, from the top."""
        return HEIGHT - self.height


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Columns, oldest first, each for one `step`; `is_cut` where older entries are not counted."""

    columns: list[Column]
    step: str
    total: int
    highest: int
    is_cut: bool
    ends_at: datetime

    @property
    def width(self) -> int:
        """In the chart's own units: 10 a column."""
        return 10 * len(self.columns)


def chart(found: QuerySet[Entry], asked: Narrowing, *, now: datetime) -> Chart | None:
    """The chart of `found`, which are newest first and `asked` for; None where there are none."""
    begin, end = asked.begins_at(now), now if asked.within else asked.ends_at
    span = (max(begin, EPOCH) if begin else None, min(end, now) if end else None)
    counted = counting.per_step(
        found, span, steps=STEPS, columns=MOST_COLUMNS - 1, most=MOST_COUNTED
    )
    if counted is None:
        return None
    total, highest = sum(counted.counts.values()), max(counted.counts.values())
    begins = _begins(counted)
    return Chart(
        columns=[
            Column(
                begin=each,
                count=counted.counts.get(each, 0),
                x=10 * place,
                height=_height(counted.counts.get(each, 0), highest),
                query=asked.between(each, each + counted.step),
            )
            for place, each in enumerate(begins)
        ],
        step=STEPS[counted.step],
        total=total,
        highest=highest,
        is_cut=total >= MOST_COUNTED,
        ends_at=begins[-1] + counted.step,
    )


def _begins(counted: Counted) -> list[datetime]:
    """When each step of the span begins."""
    first, last = ((moment - EPOCH) // counted.step for moment in counted.span)
    return [EPOCH + number * counted.step for number in range(first, last + 1)]


def _height(count: int, highest: int) -> int:
    """Whatever was counted is seen."""
    return max(round(count * HEIGHT / highest), 2) if count else 0
