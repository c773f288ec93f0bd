"""The only place where the work queue's application is made. It only nudges: rows are the truth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from celery import Celery
from celery.signals import beat_init, worker_init
from django.core.exceptions import ImproperlyConfigured

from countersign import queueing

if TYPE_CHECKING:
    from tenants.postgresql.base import DatabaseWrapper

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countersign.settings")

queueing.register()
app = Celery("countersign")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["runtime"])


@app.on_after_configure.connect
def make_queue_folders(sender: Celery, **_: object) -> None:
    """The embedded queue's folders exist before the first message is sent."""
    options = sender.conf.broker_transport_options
    for name in options.keys() & {"data_folder_in", "data_folder_out", "control_folder"}:
        Path(options[name]).mkdir(parents=True, exist_ok=True)


@worker_init.connect
@beat_init.connect
def refuse_unsafe_configuration(**_: object) -> None:
    """A worker or beat does not start on an unsafe configuration, nor where it can't be looked at.

    Nothing that it opened is left. Celery closes the bare descriptor of each connection that it
    finds when a worker's process begins, taking it for a parent's; with `--pool solo` there is no
    parent, and the pool would hand a dead connection to the first task.
    """
    from django.db import OperationalError, connection  # noqa: PLC0415  (Django is set up only now)

    from countersign import checks  # noqa: PLC0415  (likewise)

    try:
        checks.refuse_unsafe()
    except (ImproperlyConfigured, OperationalError) as problem:
        # Celery logs what a handler raises, and goes on: only an exit ends the process.
        raise SystemExit(str(problem)) from None
    finally:
        connection.close()
        cast("DatabaseWrapper", connection).close_pool()
