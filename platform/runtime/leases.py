"""The only place that says which worker may work on a run, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from audit.errors import Problem
from runtime.models import Run, RunState


class LeaseLost(Problem):
    """The run {run} is worked on by somebody else now; this result was dropped."""

    code = "lease_lost"
    status = 409


def take(run_id: UUID, *, holder: str, now: datetime) -> Run | None:
    """The run, leased to `holder`; None while it rests, is over, or somebody else works on it."""
    free = Q(lease_until=None) | Q(lease_until__lt=now) | Q(lease_holder=holder)
    changed = Run.objects.filter(free, pk=run_id, state=RunState.ACTIVE).update(
        lease_holder=holder, lease_until=now + settings.LEASE
    )
    return Run.objects.select_related("version__agent").get(pk=run_id) if changed else None


def keep(run: Run, *, until: datetime) -> None:
    """Hold the lease at least until then: longer than the effect may take. Raises LeaseLost."""
    changed = Run.objects.filter(pk=run.pk, lease_holder=run.lease_holder).update(lease_until=until)
    if changed != 1:
        raise LeaseLost(run=str(run.pk))


def confirm(run: Run, *, states: tuple[RunState, ...] = (RunState.ACTIVE,)) -> None:
    """Lock the run's row and see that the lease is ours and the run in one of `states`.

    Raises LeaseLost.
    """
    mine = Run.objects.select_for_update().filter(
        pk=run.pk, lease_holder=run.lease_holder, state__in=states
    )
    if not mine.exists():
        raise LeaseLost(run=str(run.pk))


def long_enough(now: datetime, seconds: int) -> datetime:
    """When a lease that covers an effect of at most `seconds` may be taken over."""
    return max(now + settings.LEASE, now + timedelta(seconds=seconds + 2))
