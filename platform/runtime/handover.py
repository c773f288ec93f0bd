"""The only place that says what it means that a receiver of entries did not take them."""

from __future__ import annotations

import ssl
from functools import cache

from audit.errors import Problem

# For one batch, from the first packet to the receiver's last.
SECONDS = 20.0


class NotTaken(Problem):
    """The receiver did not take it: {reason}."""

    code = "not_taken"
    status = 502

    def __init__(self, *, reason: str, wait_seconds: int = 0) -> None:
        super().__init__(reason=reason)
        self.wait_seconds = wait_seconds  # what the receiver asked for


def trust(authority: str) -> ssl.SSLContext:
    """What a receiver's certificate is judged by: the system's authorities, or `authority` alone.

    `authority` is PEM. Raises ssl.SSLError where it is none.
    """
    return ssl.create_default_context(cadata=authority) if authority else _system()


@cache
def _system() -> ssl.SSLContext:
    # Reading them takes 30 ms; a change of them is seen by the next process.
    return ssl.create_default_context()
