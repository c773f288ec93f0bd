"""The only place where the API's tests seal and publish acme's ledger."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from audit import sequencer
from audit.guard import Guard
from tenants import isolation

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def seal() -> None:
    """Seal all that was recorded so far, on the test's own connection."""
    with isolation.outside_tenants(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        with tempfile.TemporaryDirectory() as kept:
            sequencer.run_once(connection.connection, KEY, guard=Guard(Path(kept)))
