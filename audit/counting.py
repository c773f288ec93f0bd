"""The only place that counts entries over time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from django.db import connection
from django.db.models import QuerySet

if TYPE_CHECKING:
    from audit.models import Entry

# In one look at the rows: their span, the shortest step that needs few enough columns, the counts.
COUNTED = """
WITH newest AS MATERIALIZED ({rows}),
span AS (
    SELECT CASE WHEN count(*) < %s THEN least(%s::timestamptz, min(recorded_at))
        ELSE min(recorded_at) END AS a, greatest(%s::timestamptz, max(recorded_at)) AS z FROM newest
),
step AS (
    SELECT coalesce(min(each) FILTER (WHERE each * %s > z - a), max(each)) AS step
    FROM unnest(%s::interval[]) AS each, span
)
SELECT a, z, step, date_bin(step, recorded_at, '2001-01-01T00:00:00Z'), count(*)
FROM newest, span, step GROUP BY 1, 2, 3, 4
"""
Span = tuple[datetime | None, datetime | None]


class Counted(msgspec.Struct, frozen=True):
    """Entries by when they were recorded: in which span, in steps of what length, how many each."""

    span: tuple[datetime, datetime]
    step: timedelta
    counts: dict[datetime, int]


def per_step(
    found: QuerySet[Entry], span: Span, *, steps: Collection[timedelta], columns: int, most: int
) -> Counted | None:
    """How many of the newest `most` of `found` were recorded in each step of time; None of none.

    The step is the shortest of `steps` of which fewer than `columns` cover `span` and all of them;
    each begins at a multiple of it, counted from 2001. Where there are more than `most`, the span
    begins with the oldest that is counted.
    """
    query, parameters = found.values("recorded_at")[:most].query.sql_with_params()
    wanted = [most, *span, columns, [str(step) for step in steps]]
    with connection.cursor() as cursor:
        cursor.execute(COUNTED.format(rows=query), [*parameters, *wanted])
        rows = cursor.fetchall()
    if not rows:
        return None
    begin, end, step = rows[0][:3]
    return Counted((begin, end), step, {row[3]: row[4] for row in rows})
