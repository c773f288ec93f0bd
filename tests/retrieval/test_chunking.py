"""Cutting documents into passages."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.blocks import Block
from retrieval.chunking import chunk, estimate_tokens, sentences, text_of

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1)
TEXTS = st.lists(
    st.tuples(WORDS, st.sampled_from([" ", ". ", "! ", "\n", "\n\n", ", "])), min_size=1
).map(lambda parts: "".join(word + gap for word, gap in parts).strip())
BLOCKS = st.lists(
    st.builds(
        Block,
        text=TEXTS,
        headings=st.sampled_from([(), ("A",), ("A", "B"), ("C",)]),
        page=st.sampled_from([None, 1, 2]),
        kind=st.sampled_from(["paragraph", "list", "code"]),
    ),
    max_size=8,
)


def _sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@given(blocks=BLOCKS, limit=st.integers(8, 60), overlap=st.integers(0, 3))
def test_no_text_is_lost(blocks: list[Block], limit: int, overlap: int) -> None:
    text = text_of(blocks)
    kept = set()
    for each in chunk(blocks, limit=limit, overlap=overlap):
        kept.update(range(each.start, each.end))
    assert all(at in kept for at, letter in enumerate(text) if not letter.isspace())


@given(blocks=BLOCKS, limit=st.integers(8, 60), overlap=st.integers(0, 3))
def test_a_passage_is_verbatim_and_within_the_limit(
    blocks: list[Block], limit: int, overlap: int
) -> None:
    text = text_of(blocks)
    for each in chunk(blocks, limit=limit, overlap=overlap):
        assert each.text == text[each.start : each.end]
        assert 0 < each.tokens == estimate_tokens(each.text) <= limit


@given(blocks=BLOCKS, limit=st.integers(8, 60), overlap=st.integers(0, 3))
def test_passages_stand_in_reading_order_and_each_brings_something_new(
    blocks: list[Block], limit: int, overlap: int
) -> None:
    chunks = chunk(blocks, limit=limit, overlap=overlap)
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end


@given(blocks=BLOCKS)
def test_no_passage_crosses_a_heading_or_a_page(blocks: list[Block]) -> None:
    at = 0
    places = {}
    for block in blocks:
        places.update(dict.fromkeys(range(at, at + len(block.text)), (block.headings, block.page)))
        at += len(block.text) + 2
    for each in chunk(blocks, limit=40):
        assert {places[at] for at in range(each.start, each.end) if at in places} == {
            (each.headings, each.page)
        }


@given(blocks=BLOCKS)
def test_any_measure_of_tokens_is_kept(blocks: list[Block]) -> None:
    assert all(len(each.text) <= 50 for each in chunk(blocks, limit=50, count=len))


def test_a_passage_begins_with_the_last_sentence_of_the_one_before() -> None:
    block = Block("One is here now. Two is here now. Three is here now. Four is here now.")
    texts = [each.text for each in chunk([block], limit=10, overlap=1)]
    assert texts == [
        "One is here now. Two is here now.",
        "Two is here now. Three is here now.",
        "Three is here now. Four is here now.",
    ]


def test_sentences_do_not_end_at_abbreviations_or_decimals() -> None:
    text = "Ask Ms. Okafor, e.g. by post. It costs 4.90 EUR. J. Doe pays! Does he?"
    assert _sentences(text) == [
        "Ask Ms. Okafor, e.g. by post.",
        "It costs 4.90 EUR.",
        "J. Doe pays!",
        "Does he?",
    ]


def test_sentences_end_without_blanks_where_the_script_has_none() -> None:
    assert _sentences("退货期限为三十天。请保留收据。") == ["退货期限为三十天。", "请保留收据。"]


def test_a_word_longer_than_the_limit_is_cut() -> None:
    assert {each.text for each in chunk([Block("x" * 100)], limit=8)} == {"x" * 32, "x" * 4}


def test_a_limit_that_holds_no_word_is_refused() -> None:
    with pytest.raises(ValueError, match="8 tokens"):
        chunk([Block("text")], limit=7)


@pytest.mark.parametrize("text", ["." * 300_000, "a " * 150_000, ". " * 150_000, "x" * 300_000])
def test_hostile_text_takes_no_more_time_than_any_other(text: str) -> None:
    began = time.process_time()
    assert chunk([Block(text.strip())])
    assert time.process_time() - began < 10
