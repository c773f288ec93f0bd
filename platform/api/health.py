"""The only place that tells whoever watches the servers whether they work."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import psycopg
from django.db import connection
from django.http import HttpRequest, JsonResponse

from audit import reconciling, sequencer


class Seen(NamedTuple):
    """What whoever watches is told; of no single tenant."""

    sealing: Literal["ok", "behind"]
    ledgers: Literal["ok", "halted", "differing"]


# Entries are sealed within a fraction of a second where a sequencer runs and keeps up.
BEHIND_SECONDS = 10
# Whoever watches gives up soon: a database that takes longer counts as one that is not there.
LONGEST_SECONDS = 1.5
CONNECT_SECONDS = 2  # libpq takes no less


class Watch:
    """Looks at the database, one look at a time: many who ask cost no more than one."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="health")
        self._lock = threading.Lock()
        self._under_way: Future[Seen] | None = None

    def look(self) -> Future[Seen]:
        """The look that is under way, or a new one."""
        with self._lock:
            if self._under_way is None or self._under_way.done():
                # Not on Django's connection: that may be silent itself, or not to be had for long.
                parameters = connection.get_connection_params()
                self._under_way = self._thread.submit(_seen, parameters)
            return self._under_way


_watch = Watch()


def health(request: HttpRequest) -> JsonResponse:
    """200 where the database answers, else 503, within two seconds; and whether sealing keeps up.

    `behind` means that no sequencer runs, that it is too slow, or can't publish; `halted`, that a
    ledger lost what was signed, and waits for a recovery; `differing`, that rows and entries did
    not agree last night. Which ledger it is is told in the log, and to its own tenant: nobody need
    sign in here, so nothing is told that depends on a single tenant's acts.
    """
    try:
        seen = _watch.look().result(LONGEST_SECONDS)
    except (TimeoutError, psycopg.Error):
        return failing()
    return JsonResponse({"status": "ok", "database": "ok", **seen._asdict()})


def failing() -> JsonResponse:
    """What is answered where the database does not answer."""
    return JsonResponse({"status": "failing", "database": "unreachable"}, status=503)


def _seen(parameters: dict[str, Any]) -> Seen:
    """Ask on a connection of its own. Raises psycopg.Error; a silent server is hung up on."""
    bounded = {**parameters, "connect_timeout": CONNECT_SECONDS, "autocommit": True}
    with psycopg.connect(**bounded) as raw:
        timer = threading.Timer(LONGEST_SECONDS, _hang_up, [raw])
        timer.start()
        try:
            is_behind = sequencer.is_behind(raw, seconds=BEHIND_SECONDS)
            return Seen("behind" if is_behind else "ok", _ledgers(raw))
        finally:
            timer.cancel()


def _ledgers(raw: psycopg.Connection) -> Literal["ok", "halted", "differing"]:
    if sequencer.halted(raw):
        return "halted"
    return "differing" if reconciling.differs(raw) else "ok"


def _hang_up(silent: psycopg.Connection) -> None:
    # Not closed here: the other thread waits on the descriptor, whose number would be reused.
    with (
        contextlib.suppress(OSError, psycopg.OperationalError),  # it is gone already
        socket.socket(fileno=os.dup(silent.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)
