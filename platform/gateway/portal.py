"""The only place where synchronous code enters the gateway: one event loop thread a process."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

from gateway import connections

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

CLOSING_SECONDS = 5


class _Portal:
    """An event loop in a daemon thread, started by its first caller."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None

    def submit(self, work: Callable[[], Awaitable[Result]]) -> Future[Result]:
        async def awaited() -> Result:
            return await work()

        with self._lock:
            return asyncio.run_coroutine_threadsafe(awaited(), self._started())

    def close(self) -> None:
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_wind_up(), loop).result(CLOSING_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSING_SECONDS)
        loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = Thread(target=self._loop.run_forever, name="gateway", daemon=True)
            self._thread.start()
        return self._loop


_portal = _Portal()
_inherited: list[_Portal] = []


def call(
    function: Callable[Parameters, Awaitable[Result]],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """Run an async function of the gateway in its event loop, and return what it returns.

    Any number of threads may call at once. A call that is interrupted is cancelled. Raises what
    `function` raises, and RuntimeError inside an event loop, which it would block: await there.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001  (documented; does not raise)
        raise RuntimeError("portal.call would block this event loop: await the function instead")
    future = _portal.submit(lambda: function(*args, **kwargs))
    try:
        return future.result()
    finally:
        future.cancel()


def close() -> None:
    """Stop the loop, cancel what runs in it and close its connections. A later call starts anew."""
    _portal.close()


async def _wind_up() -> None:
    this = asyncio.current_task()
    others: list[asyncio.Task[Any]] = [task for task in asyncio.all_tasks() if task is not this]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await connections.close()


def _start_anew() -> None:
    # A fork copies no threads: the child's loop would never run. It is kept, unclosed, because
    # closing it would unregister the parent's sockets from the epoll object that both share.
    global _portal  # noqa: PLW0603
    _inherited.append(_portal)
    _portal = _Portal()


os.register_at_fork(after_in_child=_start_anew)
atexit.register(close)
