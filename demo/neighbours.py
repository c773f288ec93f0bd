"""The only place where the demo runs a program of somebody else's beside the installation."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Sequence

from countersign.installation import OPENER, Installation
from countersign.processes import CannotRun, free_port

READY_SECONDS = 20


class Neighbour:
    """A program that listens on a loopback port of its own, and ends with the installation."""

    def __init__(self, installation: Installation, name: str, *, first_port: int) -> None:
        self._processes = installation.processes
        self._name = name
        # The web server's is chosen already, and it starts later.
        self._port = free_port(first_port, other_than=installation.port)

    @property
    def address(self) -> str:
        """Where it listens; the same for the whole story."""
        return f"http://127.0.0.1:{self._port}"

    def start(self, command: Sequence[str], *, is_up: Callable[[], bool]) -> None:
        """Start it on its port, and wait until it is up. Raises CannotRun."""
        self._processes.start(self._name, [*command, "--port", str(self._port)])
        deadline = time.monotonic() + READY_SECONDS
        while not self._is(is_up):
            if time.monotonic() > deadline or self._name in self._processes.ended():
                last = self._processes.last_lines(self._name)
                raise CannotRun(f"The {self._name} did not start on {self.address}:\n{last}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        self._processes.kill(self._name)

    def ask(self, method: str, path: str) -> bytes:
        """What it answers. Raises OSError."""
        asked = urllib.request.Request(self.address + path, method=method)  # noqa: S310 (ours)
        with OPENER.open(asked, timeout=10) as response:
            answer: bytes = response.read()
        return answer

    @staticmethod
    def _is(is_up: Callable[[], bool]) -> bool:
        try:
            return is_up()
        except OSError:
            return False
