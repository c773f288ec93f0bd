"""The only place that finds work that nobody is doing."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from retrieval.models import Document, State
from runtime.models import ExportState, LedgerExport, Run, RunState

PATIENCE = timedelta(seconds=5)
MOST = 500


def forgotten_runs(now: datetime) -> list[UUID]:
    """Active runs without a living lease that have been around for 5 seconds, and runs that wait
    for the ledger and were not looked at for 5 seconds, oldest first.
    """
    unleased = Q(lease_until__lt=now) | Q(lease_until=None, created_at__lt=now - PATIENCE)
    overlooked = Q(state=RunState.WAITING, lease_until__lt=now - PATIENCE)
    forgotten = overlooked | Q(unleased, state=RunState.ACTIVE)
    found = Run.objects.filter(forgotten).order_by("created_at")
    return list(found.values_list("pk", flat=True)[:MOST])


def forgotten_documents(now: datetime) -> list[UUID]:
    """Queued documents that no worker has had for a minute, or whose worker died, oldest first."""
    unclaimed = Q(claimed_until=None, created_at__lt=now - 12 * PATIENCE)
    left = Document.objects.filter(unclaimed | Q(claimed_until__lt=now), state=State.QUEUED)
    found = left.order_by("created_at")
    return list(found.values_list("pk", flat=True)[:MOST])


def forgotten_exports(now: datetime) -> list[UUID]:
    """Exports that no worker has taken for a minute, or whose worker died, oldest first."""
    untaken = Q(state=ExportState.QUEUED, created_at__lt=now - 12 * PATIENCE)
    left = Q(state=ExportState.RUNNING, claimed_until__lt=now)
    found = LedgerExport.objects.filter(untaken | left).order_by("created_at")
    return list(found.values_list("pk", flat=True)[:MOST])
