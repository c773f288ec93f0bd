"""The only place where the demo starts the order service, and reads what it says it did."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from countersign.installation import Installation
from demo.neighbours import Neighbour

PROGRAM = Path(__file__).parent / "order_service.py"
FIRST_PORT = 8900
NAME = "orders"


class Orders:
    """The order service: a process of its own, with a state of its own, which it never forgets."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "shop.sqlite"
        self._service: Neighbour
        self._numbers: dict[str, str] = {}

    @property
    def address(self) -> str:
        """Where it listens; the same for the whole story."""
        return self._service.address

    def open_shop(self, installation: Installation) -> None:
        """Start on what is there, with ten orders that no story had before. Raises CannotRun."""
        self._service = Neighbour(installation, NAME, first_port=FIRST_PORT)
        self._start(delay_ms=0)
        self._numbers = self._ask("POST", "/batches")["numbers"]

    def number(self, first: str) -> str:
        """What the order that was `first` in the first story is in this one."""
        return self._numbers[first]

    def slow_down(self, delay_ms: int) -> None:
        """Start again with the same state; a refund then takes this long. Raises CannotRun."""
        self._service.kill()
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
        command = [sys.executable, str(PROGRAM), "--state", str(self._file)]
        command += ["--delay-ms", str(delay_ms)]
        self._service.start(command, is_up=lambda: bool(self._ask("GET", "/health")))

    def _ask(self, method: str, path: str) -> Any:
        return json.loads(self._service.ask(method, path))
