"""The only place that prunes what is private once its time is over; headers and proofs stay.

Entry bundles below a minimum index are not pruned: every leaf's bytes stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from audit import holds, ledger, queries
from audit.events import Actor, RetentionApplied
from audit.holds import UnderHold
from audit.models import Leaf, Log

FLOOR_MONTHS = 6
"""Nothing is pruned earlier: Regulation (EU) 2024/1689, articles 19 and 26. So PostgreSQL says."""

COUNT = """
SELECT count(*) FROM audit.body
JOIN audit.entry ON entry.log_id = body.log_id AND entry.id = body.entry_id
JOIN audit.leaf ON leaf.log_id = body.log_id AND leaf.entry_id = body.entry_id
WHERE body.log_id = %(log)s AND leaf.index < %(before)s
  AND entry.recorded_at < clock_timestamp() - interval '6 months'
  AND EXISTS (SELECT FROM unnest(%(kinds)s::text[]) AS prefix WHERE starts_with(entry.kind, prefix))
  AND NOT EXISTS (SELECT FROM audit.hold WHERE hold.log_id = body.log_id
    AND body.subject = ANY(hold.subjects)
    AND NOT EXISTS (SELECT FROM audit.hold_release AS release
      WHERE release.log_id = hold.log_id AND release.hold_id = hold.id))
"""


def apply(kinds: Sequence[str], *, older_than: datetime, actor: Actor) -> int:
    """Destroy the bodies of kinds that begin with one of `kinds` and were recorded before
    `older_than`, but for those of people who are held; how many there were.

    In the caller's transaction; nothing is recorded where there is none. Nothing is destroyed while
    the whole ledger is held. Raises NoLedger.
    """
    log = queries.own_log()
    try:
        holds.check([])
    except UnderHold:
        return 0
    before = _first_index_since(older_than, log)
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"log": log.pk, "before": before, "kinds": list(kinds)})
        (count,) = cursor.fetchone()
    if count:
        event = RetentionApplied(kinds=list(kinds), before_index=before, count=count)
        ledger.record(event, actor=actor)
    return int(count)


def _first_index_since(moment: datetime, log: Log) -> int:
    """The index where the entries begin that were recorded at `moment` or later.

    By halves: entries are sealed in the order they were recorded in, within moments.
    """
    newest = Leaf.objects.filter(log=log).order_by("-index").values_list("index", flat=True).first()
    low, high = 0, -1 if newest is None else newest
    while low <= high:
        middle = (low + high) // 2
        recorded_at = (
            Leaf.objects.filter(log=log, index=middle)
            .values_list("entry__recorded_at", flat=True)
            .get()
        )
        low, high = (middle + 1, high) if recorded_at < moment else (low, middle - 1)
    return low
