"""The only place that delivers a stream: in the order of the log, without a gap, at least once.

1. *Claimed* by one worker, for a while. 2. A batch is read and its end *noted*, so that whoever
tries it again sends the same one. 3. It is *handed over*, with no transaction open. 4. The cursor
*moves*, if the claim is still ours: who changed the stream meanwhile has taken it away. A worker
that dies in between leaves the cursor where it was, and the batch is sent again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from audit import published
from audit.errors import Problem
from audit.published import Published
from runtime import receivers
from runtime.handover import SECONDS, NotTaken
from runtime.models import Stream

logger = logging.getLogger(__name__)
Clock = Callable[[], datetime]

MOST_ENTRIES = 100
MOST_BYTES = 131_072  # unless one entry alone has more, which is at most 65,535 and its envelope
SCANNED = 500
CLAIM = timedelta(seconds=3 * SECONDS)
TURN = timedelta(seconds=30)  # then it is another stream's
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0  # seconds


class StreamClaimLost(Problem):
    """The stream {stream} was changed or taken over while a batch was handed over."""

    code = "stream_claim_lost"
    status = 409


def waiting(now: datetime) -> list[UUID]:
    """The acting tenant's streams that have something to send now, and nobody sends."""
    if not Stream.objects.filter(enabled=True).exists():
        return []
    due = Stream.objects.filter(_is_free(now), enabled=True, cursor__lt=published.size())
    return list(due.order_by("pk").values_list("pk", flat=True))


def deliver(stream_id: UUID, *, clock: Clock) -> int:
    """Send what the stream's receiver has not got, for a while; how many batches it took.

    What goes wrong is noted on the stream, which is tried again later.
    """
    turn = _claimed(stream_id, clock)
    if turn is None:
        return 0
    count, until = 0, clock() + TURN
    try:
        while clock() < until and _send_batch(turn):
            count += 1
        turn.change(claimed_until=None)
    except StreamClaimLost as problem:
        logger.info("%s", problem)
    except Problem as problem:
        _put_off(turn, problem)
    return count


class _Turn:
    """The right to send a stream's entries, as long as nobody takes it away."""

    def __init__(self, row: Stream, clock: Clock) -> None:
        self.row = row
        self.clock = clock

    def change(self, **values: Any) -> None:
        """Change the row, if it is ours, and hold on to it. Raises StreamClaimLost."""
        row = self.row
        values = {"claimed_until": self.clock() + CLAIM, **values}
        if Stream.objects.filter(pk=row.pk, claim=row.claim).update(**values) != 1:
            raise StreamClaimLost(stream=row.slug)
        for name, value in values.items():
            setattr(row, name, value)


def _is_free(now: datetime) -> Q:
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=now)
    return unclaimed & (Q(next_try_at=None) | Q(next_try_at__lte=now))


def _claimed(stream_id: UUID, clock: Clock) -> _Turn | None:
    now = clock()
    free = Stream.objects.filter(_is_free(now), pk=stream_id, enabled=True)
    if free.update(claim=F("claim") + 1, claimed_until=now + CLAIM) != 1:
        return None
    row = Stream.objects.filter(pk=stream_id).first()
    return _Turn(row, clock) if row else None


def _send_batch(turn: _Turn) -> bool:
    """Hand the next batch over; whether there was one. Raises NotTaken, StreamClaimLost."""
    row = turn.row
    end = min(row.batch_end or row.cursor + SCANNED, published.size())
    if end <= row.cursor:
        return False
    batch, end = _bounded(published.entries(row.cursor, end), end, row.selection)
    if not batch:
        turn.change(cursor=end, batch_end=None)
        return True
    turn.change(batch_end=end)
    receivers.send(row, batch, now=turn.clock())
    turn.change(
        cursor=end,
        batch_end=None,
        delivered_at=turn.clock(),
        failures=0,
        error=None,
        next_try_at=None,
    )
    return True


def _bounded(found: list[Published], end: int, selection: str) -> tuple[list[Published], int]:
    """The selected entries that fit into a batch, and the index after the last one dealt with."""
    batch: list[Published] = []
    room = MOST_BYTES
    for entry in found:
        if not entry.kind.startswith(selection):
            continue
        room -= len(entry.leaf)
        if batch and (room < 0 or len(batch) == MOST_ENTRIES):
            return batch, entry.index
        batch.append(entry)
    return batch, end


def _put_off(turn: _Turn, problem: Problem) -> None:
    row, now = turn.row, turn.clock()
    asked = problem.wait_seconds if isinstance(problem, NotTaken) else 0
    pause = pause_after(row.failures + 1, asked=asked)
    Stream.objects.filter(pk=row.pk, claim=row.claim).update(
        claimed_until=None,
        failures=F("failures") + 1,
        error=str(problem)[:500],
        failed_at=now,
        next_try_at=now + timedelta(seconds=pause),
    )
    logger.warning("The stream %s waits %.0f seconds: %s", row.slug, pause, problem)


def pause_after(failures: int, *, asked: int = 0) -> float:
    """How many seconds to wait after so many failures in a row: twice as long each time, up to ten
    minutes, less up to a half of it at random; at least what the receiver asked for, up to that.
    """
    whole = min(FIRST_PAUSE * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE)
    jittered = whole * random.uniform(0.5, 1)  # noqa: S311  (no secret)
    return max(jittered, min(float(asked), LONGEST_PAUSE))
