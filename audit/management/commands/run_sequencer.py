"""The only process that seals: all logs of one database, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection as configured

from audit import sequencer, signing

BUSY_SECONDS = 0.010
IDLE_SECONDS = 0.250
RECONNECT_SECONDS = 1.0

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Seal entries and publish checkpoints; ends cleanly on SIGTERM and Ctrl-C."""

    help = "Seal recorded entries into the ledgers' trees and publish signed checkpoints."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT; the batch at hand is finished first."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run(stop, signing.load(Path(settings.LEDGER_KEY_FILE)), connection_parameters())


def connection_parameters() -> dict[str, Any]:
    """What Django connects with, without its own cursor classes."""
    parameters = configured.get_connection_params()
    return {
        key: value for key, value in parameters.items() if key not in {"cursor_factory", "context"}
    }


def run(stop: threading.Event, key: Ed25519PrivateKey, parameters: dict[str, Any]) -> None:
    """Seal until `stop` is set. A lost database is waited for; no batch is ever half done."""
    while not stop.is_set():
        try:
            with psycopg.connect(**parameters, autocommit=True) as connection:
                log.info("Sealing the ledgers of the database %s.", connection.info.dbname)
                _seal_until(stop, connection, key)
        except psycopg.OperationalError as problem:
            log.warning(
                "The database is away (%s). Trying again every second.", str(problem).strip()
            )
            stop.wait(RECONNECT_SECONDS)
    log.info("The sequencer ended.")


def _seal_until(
    stop: threading.Event, connection: psycopg.Connection, key: Ed25519PrivateKey
) -> None:
    pause = BUSY_SECONDS
    while not stop.wait(pause):
        busy = sequencer.run_once(connection, key).sealed > 0
        pause = BUSY_SECONDS if busy else min(pause * 2, IDLE_SECONDS)
