"""The only place where Celery enters: thin, with the tenant as an explicit argument."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any
from uuid import UUID

from celery import shared_task
from django.db import DatabaseError, OperationalError
from django.utils import timezone

from audit import heartbeats
from audit.errors import Problem
from audit.ids import new_id
from runtime import (
    delivering,
    exports,
    ingesting,
    interruptions,
    leases,
    nudges,
    reconciling,
    retaining,
    runs,
    sweeping,
    unsettled,
)
from tenants import directory, isolation
from tenants.models import Tenant

logger = logging.getLogger(__name__)
# A connection that was lost, as in a restart of PostgreSQL. A task may always be begun again, since
# rows say what was done; the sweeper takes what is still left.
AGAIN: dict[str, Any] = {
    "autoretry_for": (OperationalError,),
    "max_retries": 4,
    "retry_backoff": 1,
    "retry_backoff_max": 8,
}


def _holder() -> str:
    """Who works, for people, and an id that nobody else has: two workers of one name are two."""
    return f"{socket.gethostname()[-16:]}-{os.getpid()}-{new_id().hex}"


@shared_task(name="runtime.carry_on", **AGAIN)
def carry_on(tenant: str, run: str) -> None:
    """Take a run's steps until it rests or is over."""
    holder = _holder()
    with isolation.acting_for(directory.of_slug(tenant)):
        try:
            while runs.take_step(UUID(run), holder=holder, now=timezone.now()):
                pass
        except leases.LeaseLost as problem:
            logger.warning("%s", problem)


@shared_task(name="runtime.ingest", **AGAIN)
def ingest(tenant: str, document: str) -> None:
    """Parse, chunk, embed and index an uploaded document."""
    with isolation.acting_for(directory.of_slug(tenant)):
        try:
            ingesting.ingest(UUID(document), now=timezone.now())
        except Problem as problem:
            logger.warning("document %s: %s", document, problem)


@shared_task(name="runtime.export")
def export(tenant: str, export_id: str) -> None:
    """Make a bundle that somebody asked for."""
    with isolation.acting_for(directory.of_slug(tenant)):
        try:
            exports.make(UUID(export_id), clock=timezone.now)
        except Problem as problem:
            logger.warning("export %s: %s", export_id, problem)


@shared_task(name="runtime.remove_exports")
def remove_exports() -> None:
    """Remove the bundles that were kept for a day, in every tenant."""
    for tenant in directory.everyone():
        try:
            with isolation.acting_for(tenant):
                exports.remove_old(timezone.now())
        except (Problem, DatabaseError, OSError):
            logger.exception("the old exports of %s could not be removed", tenant.slug)


@shared_task(name="runtime.apply_retention")
def apply_retention() -> None:
    """Destroy the private parts whose time is over, in every tenant."""
    for tenant in directory.everyone():
        try:
            with isolation.acting_for(tenant):
                retaining.apply(timezone.now())
                exports.prune()
        except (Problem, DatabaseError, OSError):
            logger.exception("the retention of %s could not be applied", tenant.slug)


@shared_task(name="runtime.heartbeat")
def heartbeat() -> None:
    """Let each tenant's ledger say that it works, where nothing else did within the hour."""
    for tenant in directory.everyone():
        try:
            with isolation.acting_for(tenant):
                heartbeats.beat()
        except (Problem, DatabaseError):
            logger.exception("the ledger of %s could not record a heartbeat", tenant.slug)


@shared_task(name="runtime.reconcile")
def reconcile() -> None:
    """Compare each tenant's rows with its ledger, and record the result there."""
    for tenant in directory.everyone():
        try:
            with isolation.acting_for(tenant):
                reconciling.reconcile(timezone.now())
        except (Problem, DatabaseError):
            logger.exception("the ledger of %s could not be reconciled", tenant.slug)


@shared_task(name="runtime.tell_unknown")
def tell_unknown() -> None:
    """Say of effects that never got an outcome that nobody knows of one, in every tenant."""
    for tenant in directory.everyone():
        try:
            with isolation.acting_for(tenant):
                unsettled.tell(timezone.now())
        except (Problem, DatabaseError):
            logger.exception("what never ended in %s could not be told", tenant.slug)


@shared_task(name="runtime.stream", **AGAIN)
def stream(tenant: str, stream_id: str) -> None:
    """Send what the receiver of a stream has not got."""
    with isolation.acting_for(directory.of_slug(tenant)):
        delivering.deliver(UUID(stream_id), clock=timezone.now)


@shared_task(name="runtime.nudge_streams")
def nudge_streams() -> None:
    """Have each stream sent that has something to send, in every tenant."""
    for tenant in directory.everyone():
        try:
            with isolation.acting_for(tenant):
                for stream_id in delivering.waiting(timezone.now()):
                    nudges.stream_after_commit(stream_id)
        except (Problem, DatabaseError):
            logger.exception("the streams of %s could not be looked at", tenant.slug)


@shared_task(name="runtime.sweep")
def sweep() -> None:
    """Queue again what a lost message or a killed worker left behind, in every tenant."""
    for tenant in directory.everyone():
        try:
            _sweep(tenant)
        except (Problem, DatabaseError):
            logger.exception("the tenant %s could not be swept", tenant.slug)


def _sweep(tenant: Tenant) -> None:
    with isolation.acting_for(tenant):
        now = timezone.now()
        runs.expire_approvals(now)
        interruptions.close_cancelled(now)
        for run in sweeping.forgotten_runs(now):
            nudges.after_commit(run)
        for document in sweeping.forgotten_documents(now):
            nudges.ingest_after_commit(document)
        for export_id in sweeping.forgotten_exports(now):
            nudges.export_after_commit(export_id)
