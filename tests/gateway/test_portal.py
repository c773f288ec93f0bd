"""The only place for how synchronous code enters the gateway."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from model_api import ASK, Upstream, endpoint, permitted, route, serve

from gateway import completions, connections, portal


@pytest.fixture(autouse=True)
def closed_afterwards() -> Iterator[None]:
    yield
    portal.close()


async def thread_name() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


async def fail() -> None:
    raise LookupError("from inside")


def test_many_threads_share_one_event_loop() -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: portal.call(thread_name), range(50)))
    assert set(names) == {"gateway"}


def test_calls_run_at_the_same_time() -> None:
    barrier = asyncio.Barrier(4)

    async def meet() -> None:
        await asyncio.wait_for(barrier.wait(), 5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: portal.call(meet), range(4)))


def test_what_is_raised_inside_is_raised_outside() -> None:
    with pytest.raises(LookupError, match="from inside"):
        portal.call(fail)


def test_it_starts_again_after_it_was_closed() -> None:
    portal.call(thread_name)
    portal.close()
    assert portal.call(thread_name) == "gateway"


async def test_inside_an_event_loop_it_refuses_to_block() -> None:
    with pytest.raises(RuntimeError, match="await"):
        portal.call(thread_name)


def test_closing_cancels_what_still_runs() -> None:
    cancelled = threading.Event()
    started = threading.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def enter() -> None:
        with pytest.raises(BaseException):  # noqa: B017, PT011  (concurrent.futures' own)
            portal.call(wait)

    thread = threading.Thread(target=enter)
    thread.start()
    started.wait(5)
    portal.close()
    thread.join(5)
    assert cancelled.is_set()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_loop_of_its_own() -> None:
    portal.call(thread_name)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if portal.call(thread_name) == "gateway" else 1)
        finally:
            os._exit(2)
    deadline = time.monotonic() + 10
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == (child, 0)
    assert portal.call(thread_name) == "gateway"


def test_a_model_is_called_from_synchronous_threads(loopback_allowed: None) -> None:
    upstream = Upstream()
    runner = portal.call(serve, upstream)
    spec = route(endpoint(upstream))

    def ask(_: int) -> str:
        return portal.call(completions.complete, spec, ASK, **permitted(ASK)).endpoint

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == ["main"] * 24
    assert upstream.calls == 24
    portal.call(connections.close)
    portal.call(runner.cleanup)
