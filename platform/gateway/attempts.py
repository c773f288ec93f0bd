"""The only place that decides whether a failed model call is tried again, and where."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from audit.errors import Problem
from gateway.providers.protocol import (
    ProviderCut,
    ProviderFailure,
    ProviderMalformed,
    ProviderOversized,
    ProviderTimeout,
)
from gateway.specs import EndpointSpec
from tenants.outgoing import AddressRefused

Answer = TypeVar("Answer")


class OutOfTime(Problem):
    """The model was given {seconds} seconds for its answer, and they are over."""

    code = "out_of_time"
    status = 504


# After these the provider may have done the work; all others refused it, or were never reached.
UNCERTAIN = {
    kind.code
    for kind in (ProviderTimeout, ProviderMalformed, ProviderOversized, ProviderCut, OutOfTime)
}


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long one endpoint is tried before the next one is asked. Times are in seconds.

    A provider's Retry-After is obeyed up to `longest_wait`; one that asks for more is left.
    No new attempt begins later than `total` after the first.
    """

    attempts: int = 3
    first_wait: float = 0.25
    longest_wait: float = 8.0
    total: float = 60.0


PATIENCE = Patience()


class Answered(msgspec.Struct, Generic[Answer], frozen=True, kw_only=True):
    """The first answer, who gave it, and every attempt in order as `endpoint: outcome`."""

    answer: Answer
    endpoint: EndpointSpec
    attempts: list[str]


def may_have_acted(problem: Problem) -> bool:
    """Whether a provider may have answered, and charged, although nothing usable came of it."""
    tried = problem.details.get("attempts") or []
    codes = {problem.code, *(attempt.rpartition(": ")[2] for attempt in tried)}
    return not codes.isdisjoint(UNCERTAIN)


async def first_answer(
    endpoints: Sequence[EndpointSpec],
    ask: Callable[[EndpointSpec], Awaitable[Answer]],
    patience: Patience = PATIENCE,
    *,
    seconds: float | None = None,
) -> Answered[Answer]:
    """Ask the endpoints in order until one answers, for `seconds` in all.

    1. An endpoint is tried up to `patience.attempts` times, if its failure may pass (429, 5xx,
       connection, timeout), with full jitter between.
    2. Any other failure of the provider, or the last of these, moves on to the next endpoint.
    3. A refusal of the request itself is raised at once: it is the client's to mend.
    Raises the last endpoint's problem, or OutOfTime, with `attempts` in its details.
    """
    attempts: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            return await _first(endpoints, ask, patience, attempts)
    except TimeoutError:  # ours: a provider's own is a ProviderTimeout by here
        raise OutOfTime(seconds=round(seconds or 0), attempts=attempts) from None


async def _first(
    endpoints: Sequence[EndpointSpec],
    ask: Callable[[EndpointSpec], Awaitable[Answer]],
    patience: Patience,
    attempts: list[str],
) -> Answered[Answer]:
    for place, endpoint in enumerate(endpoints, start=1):
        try:
            answer = await _patiently(endpoint, ask, patience, attempts)
        except (ProviderFailure, AddressRefused) as problem:
            problem.details["attempts"] = attempts
            if place == len(endpoints) or not _falls_back(problem):
                raise
        else:
            attempts.append(f"{endpoint.slug}: answered")
            return Answered(answer=answer, endpoint=endpoint, attempts=attempts)
    raise ValueError("a route has at least one endpoint")


async def _patiently(
    endpoint: EndpointSpec,
    ask: Callable[[EndpointSpec], Awaitable[Answer]],
    patience: Patience,
    attempts: list[str],
) -> Answer:
    async def noted() -> Answer:
        try:
            return await ask(endpoint)
        except (ProviderFailure, AddressRefused) as problem:
            attempts.append(f"{endpoint.slug}: {problem.code}")
            raise
        except asyncio.CancelledError:
            attempts.append(f"{endpoint.slug}: {OutOfTime.code}")
            raise

    began = time.monotonic()
    try:
        return await noted()
    except ProviderFailure as problem:
        if not _may_pass(problem, patience):
            raise
        return await _again(noted, problem, patience, began)


async def _again(
    noted: Callable[[], Awaitable[Answer]],
    first: ProviderFailure,
    patience: Patience,
    began: float,
) -> Answer:
    """Go on after a first failure, which tenacity is told of as if it had made that attempt.

    (On a call that succeeds at once, tenacity would cost more than all the rest of the gateway.)
    """
    failures = [first]

    async def told_or_noted() -> Answer:
        if failures:
            raise failures.pop()
        return await noted()

    left = max(0.0, patience.total - (time.monotonic() - began))
    retrying = AsyncRetrying(
        stop=stop_after_attempt(patience.attempts) | stop_before_delay(left),
        wait=_Wait(patience),
        retry=retry_if_exception(lambda problem: _may_pass(problem, patience)),
        reraise=True,
    )
    return await retrying(told_or_noted)


class _Wait:
    """Full jitter, on top of what the provider asked for."""

    def __init__(self, patience: Patience) -> None:
        self._jitter = wait_random_exponential(
            multiplier=patience.first_wait, max=patience.longest_wait
        )

    def __call__(self, state: RetryCallState) -> float:
        problem = state.outcome.exception() if state.outcome else None
        asked = problem.retry_after if isinstance(problem, ProviderFailure) else None
        return (asked or 0) + self._jitter(state)


def _may_pass(problem: BaseException, patience: Patience) -> bool:
    return (
        isinstance(problem, ProviderFailure)
        and problem.retried
        and (problem.retry_after or 0) <= patience.longest_wait
    )


def _falls_back(problem: Problem) -> bool:
    return isinstance(problem, AddressRefused) or (
        isinstance(problem, ProviderFailure) and problem.falls_back
    )
