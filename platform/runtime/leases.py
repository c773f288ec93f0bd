"""The only place that says which worker may work on a run, and until when.

A worker that is alive renews its lease while it acts, so a dead one's run goes on once the lease
is over, however long the act might have taken. What can't be told apart from a dead worker is one
that was stopped, or that the database did not hear for as long as a lease. When it wakes:

1. It renews nothing that somebody else took: a lease is renewed by its holder alone, in one
   statement. Nobody took it: it goes on as if nothing had been.
2. Its outcome is dropped with LeaseLost; the result of whoever took the run stands.
3. What it had begun may have been begun a second time by then, or happen after that. So only what
   may be repeated is taken up: a read, a model call, a tool that honours the idempotency key, which
   is the same for both. Any other write is `unknown` from the moment when it is taken over, which
   stays true if it happens later; and it is not taken over before its time-out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

from django.conf import settings
from django.db import Error, connection
from django.db.models import Q

from audit.errors import Problem
from runtime.models import Run, RunState
from tenants import isolation
from tenants.models import Tenant

logger = logging.getLogger(__name__)

# A run in another state is nobody's work.
WORKED_ON = (RunState.ACTIVE, RunState.WAITING)
# Two renewals may fail before a living worker loses its lease.
RENEWALS_A_LEASE = 3
SLACK = 2  # seconds, for what a time-out does not count


class LeaseLost(Problem):
    """The run {run} is worked on by somebody else now; this result was dropped."""

    code = "lease_lost"
    status = 409


def take(run_id: UUID, *, holder: str, now: datetime) -> Run | None:
    """The run, leased to `holder`; None while it rests, is over, or somebody else works on it."""
    free = Q(lease_until=None) | Q(lease_until__lt=now) | Q(lease_holder=holder)
    changed = Run.objects.filter(free, pk=run_id, state__in=WORKED_ON).update(
        lease_holder=holder, lease_until=now + settings.LEASE
    )
    return Run.objects.select_related("version__agent").get(pk=run_id) if changed else None


def keep(run: Run, *, until: datetime) -> None:
    """Hold the lease until then. Raises LeaseLost."""
    changed = Run.objects.filter(pk=run.pk, lease_holder=run.lease_holder).update(lease_until=until)
    if changed != 1:
        raise LeaseLost(run=str(run.pk))


@contextmanager
def kept(run: Run, *, now: datetime, alone_for: int = 0) -> Iterator[None]:
    """Hold the lease while the block acts; for `alone_for` seconds even if the worker dies.

    It is renewed by a thread with a connection of its own, which the first renewal opens: most
    acts end before. MUST NOT be entered in a transaction that has written the run: the renewal
    would wait for its end. Raises LeaseLost at the beginning; where the lease is lost later, no
    more is renewed, and `confirm` raises it.
    """
    alone = now + timedelta(seconds=alone_for + SLACK if alone_for else 0)
    keep(run, until=max(now + settings.LEASE, alone))
    over = threading.Event()
    beat = _Beat(run, isolation.current(), now, alone, over)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()


class _Beat(threading.Thread):
    """Renews a lease until it is over, or lost. One that fails is tried again at the next beat."""

    def __init__(
        self, run: Run, tenant: Tenant, now: datetime, alone: datetime, over: threading.Event
    ) -> None:
        super().__init__(name=f"lease of {run.pk}", daemon=True)
        self._run, self._tenant, self._now, self._alone, self._over = run, tenant, now, alone, over
        self._began = monotonic()

    def run(self) -> None:
        """Wait, renew, and give the connection back, which a dead thread could not."""
        pause = settings.LEASE.total_seconds() / RENEWALS_A_LEASE
        try:
            while not self._over.wait(pause):
                self._renew()
        except LeaseLost:
            logger.warning("the lease of the run %s was lost while its worker acted", self._run.pk)
        finally:
            connection.close()

    def _renew(self) -> None:
        now = self._now + timedelta(seconds=monotonic() - self._began)
        try:
            with isolation.acting_for(self._tenant):
                keep(self._run, until=max(now + settings.LEASE, self._alone))
        except Error:
            logger.warning("the lease of the run %s could not be renewed", self._run.pk)
            connection.close()  # the next beat begins with another


def confirm(run: Run, *, states: tuple[RunState, ...] = WORKED_ON) -> None:
    """Lock the run's row and see that the lease is ours and the run in one of `states`.

    Raises LeaseLost.
    """
    mine = Run.objects.select_for_update().filter(
        pk=run.pk, lease_holder=run.lease_holder, state__in=states
    )
    if not mine.exists():
        raise LeaseLost(run=str(run.pk))
