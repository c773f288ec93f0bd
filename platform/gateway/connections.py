"""The only place that keeps HTTP sessions to providers open: one an event loop, for all tenants.

The sessions keep no cookies and no keys (a request brings its own), so tenants share nothing but
open connections.
"""

from __future__ import annotations

import asyncio
import os
from weakref import WeakKeyDictionary

import aiohttp

from tenants import outgoing

LONGEST_EXCHANGE_SECONDS = 600

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()
_inherited: list[aiohttp.ClientSession] = []


def session() -> aiohttp.ClientSession:
    """Return the running event loop's session; requests bring their own, shorter timeouts."""
    loop = asyncio.get_running_loop()
    found = _sessions.get(loop)
    if found is None or found.closed:
        found = _sessions[loop] = outgoing.session(timeout=LONGEST_EXCHANGE_SECONDS)
    return found


async def close() -> None:
    """Close the running event loop's session: call it when the loop's server shuts down."""
    found = _sessions.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()


def _leave_to_parent() -> None:
    # The sockets and their epoll registrations are the parent's: closing them here would break it.
    _inherited.extend(_sessions.values())
    _sessions.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
