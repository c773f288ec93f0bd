"""The only place for how the offline provider reads values from text."""

from __future__ import annotations

import pytest

from gateway.providers.offline import values, words


@pytest.mark.parametrize(
    ("text", "minor", "currency"),
    [
        ("35.00 EUR", 3500, "EUR"),
        ("€35", 3500, "EUR"),
        ("$1,250.50", 125050, "USD"),
        ("1.250,50 €", 125050, "EUR"),
        ("35,00 euros", 3500, "EUR"),
        ("order 1042 EUR 35.00", 3500, "EUR"),
        ("US$ 12.5", 1250, "USD"),
        ("3500 cents", 3500, None),
        ("refund 35.00 please", 3500, None),
    ],
)
def test_sums_are_read_in_minor_units(text: str, minor: int, currency: str | None) -> None:
    assert values.sums(text) == [values.Sum(minor=minor, currency=currency)]


@pytest.mark.parametrize("text", ["-35.00 EUR", "35.005 EUR", "order 1042", "version 1.2.3", ""])
def test_what_is_not_clearly_a_sum_is_none(text: str) -> None:
    assert values.sums(text) == []


def test_dates_are_read_and_checked() -> None:
    text = "from 2026-03-01, 3 March 2026, the 4th of April 2026 to May 5, 2026; never 2026-02-30"
    assert values.dates(text) == ["2026-03-01", "2026-03-03", "2026-04-04", "2026-05-05"]


def test_times_are_read_as_24_hours() -> None:
    assert values.times("at 14:00, 2 pm, 12am and 9:30 am, not 25:00") == [
        "14:00",
        "14:00",
        "00:00",
        "09:30",
    ]


def test_numbers_leave_money_dates_and_measures_out() -> None:
    text = "order 1042 of 2026-03-03, 35.00 EUR, within 30 days, at 14:00"
    assert values.integers(text) == [1042]


def test_addresses_and_quotations_are_found() -> None:
    text = 'Write "Hello" to bob@acme.test, see https://acme.test/a.'
    assert values.emails(text) == ["bob@acme.test"]
    assert values.urls(text) == ["https://acme.test/a"]
    assert values.quotations(text) == ["Hello"]


def test_forms_of_a_word_share_a_stem() -> None:
    forms = ("refund", "refunds", "refunded", "refunding", "refundable")
    assert {words.stem(word) for word in forms} == {"refund"}


def test_sentences_end_where_readers_see_them_end() -> None:
    text = "# Title\nShoes, e.g. boots, are fine. They cost 1.50 EUR.\n- One thing\n- Another thing"
    assert words.sentences(text) == [
        "Title",
        "Shoes, e.g. boots, are fine.",
        "They cost 1.50 EUR.",
        "One thing",
        "Another thing",
    ]
