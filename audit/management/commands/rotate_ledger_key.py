"""The only command that replaces the key which signs the ledgers, or finishes doing so."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import keyrings, rotations
from audit.signing import Keyring, LedgerKeyUnusable

POLL_SECONDS = 0.2


class Command(BaseCommand):
    """Run it where the sequencer's key is, while the sequencer runs; again if it broke off."""

    help = "Replace the key that signs the ledgers by a new one, and say so in every ledger."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which key, and how long to wait for the sequencer."""
        parser.add_argument("--mldsa", action="store_true", help="the ML-DSA-44 key")
        parser.add_argument("--wait", type=float, default=60, help="seconds at most, 60 by default")

    def handle(self, *args: Any, mldsa: bool, wait: float, **options: Any) -> None:
        """Exits with 1 where a ledger has not gone over in time, or a key can't be used."""
        end = time.monotonic() + wait

        def rest() -> bool:
            time.sleep(POLL_SECONDS)
            return time.monotonic() < end

        try:
            is_done = rotations.rotate(_keyring(mldsa=mldsa), tell=self.stdout.write, wait=rest)
        except LedgerKeyUnusable as problem:
            raise CommandError(str(problem)) from problem
        if not is_done:
            raise CommandError("Is the sequencer running? Run this again: it goes on from here.")


def _keyring(*, mldsa: bool) -> Keyring:
    found = keyrings.mldsa() if mldsa else keyrings.ed25519()
    if found is None:
        raise CommandError("COUNTERSIGN_LEDGER_MLDSA_KEY_FILE names no ML-DSA-44 key.")
    return found
