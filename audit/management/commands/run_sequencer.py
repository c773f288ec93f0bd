"""The only process that seals: all logs of one database, until it is told to stop.

Beside it, in the background, checkpoints are taken outside (audit.anchoring).
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection as configured
from django.utils import timezone
from django.utils.module_loading import import_string

from audit import anchoring, keyrings, sequencer
from audit.errors import Problem
from audit.guard import Guard
from audit.note_keys import PrivateKey
from audit.signing import FileKeyring, Keyring, LedgerKeyUnusable

BUSY_SECONDS = 0.010
IDLE_SECONDS = 0.250
RECONNECT_SECONDS = 1.0

log = logging.getLogger(__name__)


class NotDurable(Problem):
    """The ledgers are not sealed on a server with {setting} off: a commit would not last."""

    code = "not_durable"
    status = 500


class Command(BaseCommand):
    """Seal entries and publish checkpoints; ends cleanly on SIGTERM and Ctrl-C."""

    help = "Seal recorded entries into the ledgers' trees and publish signed checkpoints."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT; the batch at hand is finished first."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        rings = keyrings.configured()
        _check_files(rings)
        guard = Guard(Path(settings.LEDGER_GUARD_DIRECTORY))
        # The network is no business of this floor: a higher one says what there is outside.
        places = import_string(settings.LEDGER_PLACES)()
        parameters = connection_parameters()
        with anchoring.running(places, parameters, timezone.now):
            run(stop, lambda: _all_keys(rings), guard, parameters)


def _check_files(rings: Sequence[Keyring]) -> None:
    """Files are made on the first start, and what is wrong with one ends the process before
    anything is sealed. A token may be away: it is waited for (KeysAtHand), and a PIN that it
    refuses would be tried again by each process that is started in the place of an ended one.
    """
    for ring in rings:
        if isinstance(ring, FileKeyring):
            ring.held()


def _all_keys(rings: Sequence[Keyring]) -> list[PrivateKey]:
    return [key for ring in rings for key in ring.held()]


def connection_parameters() -> dict[str, Any]:
    """What Django connects with, without its own cursor classes."""
    parameters = configured.get_connection_params()
    return {
        key: value for key, value in parameters.items() if key not in {"cursor_factory", "context"}
    }


def check_durability(connection: psycopg.Connection) -> None:
    """Raise NotDurable on a server whose commits may be lost when it crashes."""
    for setting in sequencer.MUST_BE_ON:
        row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
        if row == ("off",):
            raise NotDurable(setting=setting)


def run(
    stop: threading.Event,
    keys: Callable[[], Sequence[PrivateKey]],
    guard: Guard,
    parameters: dict[str, Any],
) -> None:
    """Seal until `stop` is set, signing with `keys()`, which are asked for in every cycle. A lost
    database is waited for, and so are keys that can't be used; no batch is ever half done.
    """
    at_hand = KeysAtHand(keys)
    while not stop.is_set():
        try:
            with psycopg.connect(**parameters, autocommit=True) as connection:
                log.info("Sealing the ledgers of the database %s.", connection.info.dbname)
                check_durability(connection)
                # Whatever it was connected to before may have been another server.
                sequencer.check_all(connection, guard)
                _seal_until(stop, connection, at_hand, guard)
        except psycopg.OperationalError as problem:
            log.warning(
                "The database is away (%s). Trying again every second.", str(problem).strip()
            )
            stop.wait(RECONNECT_SECONDS)
    log.info("The sequencer ended.")


class KeysAtHand:
    """What `keys()` answers; nothing while they can't be used, which is said every second.

    All or none: a checkpoint that lacks one of its signatures is not to be published.
    """

    def __init__(self, keys: Callable[[], Sequence[PrivateKey]]) -> None:
        self._keys = keys
        self._ask_at = 0.0
        self._are_away = False

    def __call__(self) -> Sequence[PrivateKey]:
        """The keys, or none of them."""
        if self._are_away and time.monotonic() < self._ask_at:
            return ()
        try:
            return self._keys()
        except (LedgerKeyUnusable, OSError) as problem:
            self.lost(problem)
            return ()

    def lost(self, problem: Exception) -> None:
        """Say that they can't be used, and leave them alone for a second."""
        self._are_away, self._ask_at = True, time.monotonic() + RECONNECT_SECONDS
        log.critical("%s Entries are sealed, and not published until it can be.", problem)

    def used(self) -> None:
        """Say that they can be used, if they could not: a cycle with them has ended."""
        if self._are_away:
            log.warning("The ledgers' signing keys can be used again.")
        self._are_away = False


def _seal_until(
    stop: threading.Event,
    connection: psycopg.Connection,
    at_hand: KeysAtHand,
    guard: Guard,
) -> None:
    pause = BUSY_SECONDS
    while not stop.wait(pause):
        is_busy = _cycle(connection, at_hand, guard)
        pause = BUSY_SECONDS if is_busy else min(pause * 2, IDLE_SECONDS)


def _cycle(connection: psycopg.Connection, at_hand: KeysAtHand, guard: Guard) -> bool:
    """Whether the next one should come at once."""
    keys = at_hand()
    try:
        cycle = sequencer.run_once(connection, *keys, guard=guard)
    except LedgerKeyUnusable as problem:
        at_hand.lost(problem)
        return False
    if keys:
        at_hand.used()
    return cycle.is_busy
