"""Fusing rankings and choosing quotes, by themselves."""

from __future__ import annotations

from uuid import UUID

from retrieval.citations import MAX_QUOTE, quote
from retrieval.fusion import fuse

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)


def test_what_both_rankings_know_beats_what_one_puts_first() -> None:
    assert [each for each, _ in fuse([A, B], [C, B])] == [B, A, C]


def test_a_score_is_the_sum_of_reciprocal_ranks() -> None:
    assert fuse([A], [B, A]) == [(A, 1 / 11 + 1 / 12), (B, 1 / 11)]


def test_ties_go_by_id_and_nothing_gives_nothing() -> None:
    assert [each for each, _ in fuse([B], [A])] == [A, B]
    assert fuse([], []) == []


def test_a_quote_is_the_sentence_that_shares_most_words() -> None:
    text = "Refunds are quick. The clerk refunds 50 EUR. Nothing else."
    assert quote(text, query="what the clerk refunds") == "The clerk refunds 50 EUR."


def test_a_long_quote_ends_between_words() -> None:
    text = "word " * 100
    assert len(quote(text, query="word")) <= MAX_QUOTE
    assert quote(text, query="x").endswith("word")
