"""The only place where the demo starts the order service, and reads what it says it did."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from countersign.installation import OPENER, Installation
from countersign.processes import CannotRun, Processes, free_port

PROGRAM = Path(__file__).parent / "order_service.py"
FIRST_PORT = 8900
READY_SECONDS = 20
NAME = "orders"


class Orders:
    """The order service: a process of its own, with a state of its own, which it never forgets."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "shop.sqlite"
        self._processes: Processes
        self._port = 0
        self._numbers: dict[str, str] = {}

    @property
    def address(self) -> str:
        """Where it listens; the same for the whole story."""
        return f"http://127.0.0.1:{self._port}"

    def open_shop(self, installation: Installation) -> None:
        """Start on what is there, with ten orders that no story had before. Raises CannotRun."""
        self._processes = installation.processes
        self._port = free_port(FIRST_PORT)
        self._start(delay_ms=0)
        self._numbers = self._ask("POST", "/batches")["numbers"]

    def number(self, first: str) -> str:
        """What the order that was `first` in the first story is in this one."""
        return self._numbers[first]

    def slow_down(self, delay_ms: int) -> None:
        """Start again with the same state; a refund then takes this long. Raises CannotRun."""
        self._processes.kill(NAME)
        self._start(delay_ms)

    def order(self, order_id: str) -> dict[str, Any]:
        """An order, as the shop's own API shows it."""
        found: dict[str, Any] = self._ask("GET", f"/orders/{order_id}")
        return found

    def log(self, run: str) -> list[str]:
        """What the shop's log says of one run, oldest first.

        A run's Idempotency-Keys begin with its id.
        """
        entries = self._ask("GET", "/log")["entries"]
        return [entry["kind"] for entry in entries if entry["idempotency_key"].startswith(run)]

    def refunds(self, run: str) -> int:
        """How many refunds were made for the run."""
        return self.log(run).count("refund.made")

    def _start(self, delay_ms: int) -> None:
        command = [sys.executable, str(PROGRAM), "--port", str(self._port)]
        command += ["--state", str(self._file), "--delay-ms", str(delay_ms)]
        self._processes.start(NAME, command)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or NAME in self._processes.ended():
                last = self._processes.last_lines(NAME)
                raise CannotRun(f"The order service did not start:\n{last}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return bool(self._ask("GET", "/health"))
        except OSError:
            return False

    def _ask(self, method: str, path: str) -> Any:
        asked = urllib.request.Request(self.address + path, method=method)  # noqa: S310 (ours)
        with OPENER.open(asked, timeout=10) as response:
            return json.load(response)
