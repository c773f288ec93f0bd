"""The only place where Celery enters: thin, with the tenant as an explicit argument."""

from __future__ import annotations

import logging
import os
import socket
import threading
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from audit.errors import Problem
from runtime import ingesting, leases, nudges, runs, sweeping
from tenants import directory, isolation

logger = logging.getLogger(__name__)


def _holder() -> str:
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{threading.get_ident() % 10_000}"


@shared_task(name="runtime.carry_on")
def carry_on(tenant: str, run: str) -> None:
    """Take a run's steps until it rests or is over."""
    holder = _holder()
    with isolation.acting_for(directory.of_slug(tenant)):
        try:
            while runs.take_step(UUID(run), holder=holder, now=timezone.now()):
                pass
        except leases.LeaseLost as problem:
            logger.warning("%s", problem)


@shared_task(name="runtime.ingest")
def ingest(tenant: str, document: str) -> None:
    """Parse, chunk, embed and index an uploaded document."""
    with isolation.acting_for(directory.of_slug(tenant)):
        try:
            ingesting.ingest(UUID(document), now=timezone.now())
        except Problem as problem:
            logger.warning("document %s: %s", document, problem)


@shared_task(name="runtime.sweep")
def sweep() -> None:
    """Queue again what a lost message or a killed worker left behind, in every tenant."""
    for tenant in directory.everyone():
        with isolation.acting_for(tenant):
            now = timezone.now()
            runs.expire_approvals(now)
            for run in sweeping.forgotten_runs(now):
                nudges.after_commit(run)
            for document in sweeping.forgotten_documents(now):
                nudges.ingest_after_commit(document)
