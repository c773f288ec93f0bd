"""The only place where the demo starts its SIEM, has the ledger sent to it, and reads what came."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from audit import durable_files
from countersign.installation import Installation
from demo.client import Client
from demo.neighbours import Neighbour

PROGRAM = Path(__file__).parent / "siem_service.py"
FIRST_PORT = 8850
STREAM = "siem"


class Siem:
    """acme's SIEM: a process of its own, which keeps every entry of the log `origin` it is sent."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._file = folder / "siem.sqlite"
        self._secret = folder / "siem.secret"
        self._origin = origin
        self._service: Neighbour

    @property
    def address(self) -> str:
        """Where it takes webhooks."""
        return f"{self._service.address}/countersign"

    def start(self, installation: Installation) -> None:
        """Start on what came before: the stream may go on at once. Raises CannotRun."""
        self._service = Neighbour(installation, "siem", first_port=FIRST_PORT)
        command = [sys.executable, str(PROGRAM), "--state", str(self._file)]
        command += ["--secret", str(self._secret)]
        self._service.start(command, is_up=lambda: bool(self._service.ask("GET", "/health")))

    def subscribe(self, admin: Client) -> None:
        """Have the ledger sent here from its first entry on, under a secret of today's.

        A stream that is there goes on where it was, at the address of today. Raises Refused.
        """
        known = admin.find(f"/ledger/streams/{STREAM}")
        if known is None:
            wanted = {"slug": STREAM, "kind": "webhook", "address": self.address}
            made = admin.post("/ledger/streams", wanted)
        else:
            cursor = min(known["cursor"], len(self.entries()))  # a SIEM that lost its file
            wanted_now = {"address": self.address, "cursor": cursor, "enabled": True}
            admin.patch(f"/ledger/streams/{STREAM}", wanted_now)
            made = admin.post(f"/ledger/streams/{STREAM}/secret", {})
        durable_files.replace(self._secret, made["secret"].encode())

    def entries(self) -> list[tuple[int, str]]:
        """Index and leaf hash of each entry that came, was checked and is kept. Raises OSError."""
        path = f"/entries?log={quote(self._origin, safe='')}"
        rows: list[list[Any]] = json.loads(self._service.ask("GET", path))["entries"]
        return [(index, leaf_hash) for index, leaf_hash in rows]
