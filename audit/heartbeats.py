"""The only place that lets a quiet log say that it is still written to, so that silence shows.

Recorded like any other entry, in the tenant's own role, by a worker that beat calls: what it shows
is that the whole way works, from the schedule to the seal. A sequencer that wrote it by itself
would go on beating over workers that are dead.

Only where nothing else was recorded for an hour: any entry shows as much as a heartbeat does, and
a busy log is not made longer. Non-goal: it can't show *why* there was silence.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import connection, transaction

from audit import ledger, queries
from audit.events import SYSTEM, Heartbeat

QUIET = timedelta(hours=1)

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('audit.heartbeat ' || %s::text, 0))"
# By the database's clock, which stamps entries: the newest that is sealed, and what waits. Not by
# the newest id, which whoever records chooses.
IS_QUIET = """
SELECT NOT EXISTS (
    SELECT FROM audit.entry WHERE entry.log_id = %(log)s
    AND entry.recorded_at > clock_timestamp() - make_interval(secs => %(quiet)s)
    AND entry.id IN (
        (SELECT entry_id FROM audit.leaf WHERE log_id = %(log)s ORDER BY index DESC LIMIT 1)
        UNION ALL
        (SELECT entry_id FROM audit.pending WHERE log_id = %(log)s)
    )
)
"""


def beat(*, quiet: timedelta = QUIET) -> bool:
    """Record a heartbeat in the acting tenant's log if nothing else was for as long as `quiet`.

    Returns whether it was recorded. Of two at once only one records. Raises NoLedger.
    """
    log = queries.own_log()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK, [log.pk])
        if cursor.fetchone() != (True,):
            return False
        # A statement of its own: it sees what whoever had the lock before has committed.
        cursor.execute(IS_QUIET, {"log": log.pk, "quiet": quiet.total_seconds()})
        is_quiet: bool = cursor.fetchone() == (True,)
        if is_quiet:
            ledger.record(Heartbeat(), actor=SYSTEM)
    return is_quiet
