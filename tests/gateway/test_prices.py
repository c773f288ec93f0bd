"""The only place for what a call costs."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from model_api import endpoint

from gateway import prices

TOKENS = st.integers(min_value=0, max_value=10**9)
PRICES = st.integers(min_value=0, max_value=10**12)


def cost(tokens_in: int, tokens_out: int, price_in: int, price_out: int) -> int:
    spec = endpoint(input_micros_per_million=price_in, output_micros_per_million=price_out)
    return prices.cost_micros(spec, input_tokens=tokens_in, output_tokens=tokens_out)


@given(TOKENS, TOKENS, PRICES, PRICES)
def test_a_cost_is_the_exact_price_rounded_up_by_less_than_a_micro(
    tokens_in: int, tokens_out: int, price_in: int, price_out: int
) -> None:
    exact = Fraction(tokens_in * price_in + tokens_out * price_out, 1_000_000)
    assert 0 <= cost(tokens_in, tokens_out, price_in, price_out) - exact < 1


@given(TOKENS, TOKENS, PRICES, PRICES)
def test_more_tokens_never_cost_less(
    tokens_in: int, tokens_out: int, price_in: int, price_out: int
) -> None:
    before = cost(tokens_in, tokens_out, price_in, price_out)
    assert cost(tokens_in + 1, tokens_out + 1, price_in, price_out) >= before


def test_the_smallest_call_at_the_smallest_price_is_not_free() -> None:
    assert cost(1, 0, 1, 0) == 1


def test_a_free_model_costs_nothing() -> None:
    assert cost(10**9, 10**9, 0, 0) == 0


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.floats() | st.text()))
def test_a_report_that_is_none_is_replaced_by_the_guess(report: dict[str, object]) -> None:
    usage = prices.usage(endpoint(), {"prompt_tokens": True, **report}, guess=lambda: (5, 7))
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (5, 7, True)
