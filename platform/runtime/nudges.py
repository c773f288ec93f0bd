"""The only place that tells a worker that there is work. Losing a nudge loses nothing."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from celery import current_app
from django.db import transaction

from tenants import isolation

AT_ONCE = timedelta()
# Whoever waits for the commit does not wait for the queue to come back.
BRIEFLY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


def after_commit(run_id: UUID, *, delay: timedelta = AT_ONCE) -> None:
    """Queue the run's next step, to be taken after `delay`, once the caller's transaction is
    durable.
    """
    _send_after_commit("runtime.carry_on", run_id, delay)


def ingest_after_commit(document_id: UUID) -> None:
    """Queue a document's ingestion once the caller's transaction is durable."""
    _send_after_commit("runtime.ingest", document_id)


def export_after_commit(export_id: UUID) -> None:
    """Queue the making of an export once the caller's transaction is durable."""
    _send_after_commit("runtime.export", export_id)


def stream_after_commit(stream_id: UUID) -> None:
    """Queue the sending of a stream once the caller's transaction is durable."""
    _send_after_commit("runtime.stream", stream_id)


def _send_after_commit(task: str, row: UUID, delay: timedelta = AT_ONCE) -> None:
    arguments = [isolation.current().slug, str(row)]

    def send() -> None:
        current_app.send_task(
            task,
            args=arguments,
            countdown=delay.total_seconds() or None,
            ignore_result=True,
            retry=True,
            retry_policy=BRIEFLY,
        )

    # What was committed stands, whether or not the queue can be reached: a failure is only logged.
    # (Django's log names the function, so it can't be a `partial`.)
    transaction.on_commit(send, robust=True)
