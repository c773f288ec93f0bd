"""The only place that turns tokens into money: integer micros of a US dollar, rounded up."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.specs import EndpointSpec

MILLION = 1_000_000


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a call used. `estimated`: the provider did not say, so the tokens are a guess."""

    input_tokens: int
    output_tokens: int
    cost_micros: int
    estimated: bool = False


def cost_micros(endpoint: EndpointSpec, *, input_tokens: int, output_tokens: int) -> int:
    """Return the price of a call, rounded up once, so that no call that costs is free."""
    exact = (
        input_tokens * endpoint.input_micros_per_million
        + output_tokens * endpoint.output_micros_per_million
    )
    return -(-exact // MILLION)


def usage(
    endpoint: EndpointSpec, reported: object, *, guess: Callable[[], tuple[int, int]]
) -> Usage:
    """Return the usage that a provider reported (an OpenAI `usage` object) with its price.

    Where that is missing or nonsense, what `guess` returns (input and output tokens) is priced.
    """
    counts = _counts(reported)
    input_tokens, output_tokens = counts or guess()
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_micros=cost_micros(endpoint, input_tokens=input_tokens, output_tokens=output_tokens),
        estimated=counts is None,
    )


def _counts(reported: object) -> tuple[int, int] | None:
    if not isinstance(reported, dict):
        return None
    counts = reported.get("prompt_tokens"), reported.get("completion_tokens", 0)
    # A count beyond 2**53 could not be recorded in the ledger, and no model counts so far.
    if all(type(count) is int and 0 <= count < 2**40 for count in counts):
        return counts  # type: ignore[return-value]  # mypy does not narrow a tuple through all()
    return None
