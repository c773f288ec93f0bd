"""The only place for cutting a document into passages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from retrieval.blocks import Block

TOKEN_LIMIT = 200
OVERLAP_SENTENCES = 1
SMALLEST_LIMIT = 8
_WINDOW_CHARACTERS_PER_TOKEN = 8
"""How far ahead a cut is looked for; a window that fits entirely is cut at its end."""

# The lookbehind lets a match begin only where a run of marks begins: linear on "........".
_SENTENCE_END = re.compile(
    r"""(?<![.!?…])[.!?…]++["'\u201d\u2019)\]]*+\s++(?=[^a-zß-öø-ÿ])|[\u3002\uff01\uff1f]++"""
)
_LINE_END = re.compile(r"\n")
_WORD = re.compile(r"\S+")
_ABBREVIATION = re.compile(
    r"mr|mrs|ms|dr|prof|st|vs|no|nr|art|fig|sec|approx|incl|e\.g|i\.e|z\.b|u\.a|d\.h|bzw|ca|abs|[^\W\d_]"
)

Count = Callable[[str], int]


class Chunk(msgspec.Struct, frozen=True):
    """A passage to be: `text` is `text_of(blocks)[start:end]`, character for character."""

    text: str
    headings: tuple[str, ...]
    page: int | None
    start: int
    end: int
    tokens: int


class _Span(msgspec.Struct, frozen=True):
    """A sentence, or a part of one that is too long, by its place in the document's text."""

    start: int
    end: int
    headings: tuple[str, ...]
    page: int | None


def estimate_tokens(text: str) -> int:
    """About how many tokens a model sees: a quarter of the UTF-8 bytes, and at least the words.

    Near enough for English and German with the usual tokenizers (within a quarter), high for none
    of the common scripts; it depends on no model, so that a collection outlives its tokenizer.
    """
    return max(-(-len(text.encode()) // 4), len(text.split()))


def text_of(blocks: Iterable[Block]) -> str:
    """The document's text, which passages' `start` and `end` count in (characters)."""
    return "\n\n".join(block.text for block in blocks)


def chunk(
    blocks: Sequence[Block],
    *,
    limit: int = TOKEN_LIMIT,
    overlap: int = OVERLAP_SENTENCES,
    count: Count = estimate_tokens,
) -> list[Chunk]:
    """Passages of at most `limit` tokens (8 or more), in reading order.

    Together they hold all the text. None crosses a heading or a page: its citation is then true
    for all of it. A passage begins with the last `overlap` sentences of the one before, where they
    fit. A sentence longer than the limit is cut between words, and a word between characters.
    """
    if limit < SMALLEST_LIMIT:
        raise ValueError(f"A limit below {SMALLEST_LIMIT} tokens cannot hold a word.")
    text = text_of(blocks)
    fits = _Fits(text, limit, count)
    chunks: list[Chunk] = []
    for _, section in groupby(_spans(blocks, fits), key=lambda span: (span.headings, span.page)):
        chunks.extend(_packed(list(section), fits, overlap))
    return chunks


class _Fits:
    """The text, the limit and the measure, which always go together."""

    def __init__(self, text: str, limit: int, count: Count) -> None:
        self.text = text
        self.limit = limit
        self.count = count

    def __call__(self, start: int, end: int) -> bool:
        return self.count(self.text[start:end]) <= self.limit


def _spans(blocks: Sequence[Block], fits: _Fits) -> Iterator[_Span]:
    at = 0
    for block in blocks:
        for start, end in sentences(block.text, by_line=block.kind in ("code", "list")):
            for first, last in _pieces(at + start, at + end, fits):
                yield _Span(first, last, block.headings, block.page)
        at += len(block.text) + 2


def sentences(text: str, *, by_line: bool = False) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence (of each line), without the white space around it."""
    start = 0
    for found in (_LINE_END if by_line else _SENTENCE_END).finditer(text):
        end = found.start() + 1 if by_line else _sentence_end(text, found)
        if end is not None:
            yield from _stripped(text, start, end)
            start = end
    yield from _stripped(text, start, len(text))


def _sentence_end(text: str, found: re.Match[str]) -> int | None:
    word = text[max(0, found.start() - 8) : found.start()].rpartition(" ")[2].lstrip("(").lower()
    if text[found.start()] == "." and _ABBREVIATION.fullmatch(word):
        return None
    return found.end()


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    stripped = piece.strip()
    if stripped:
        first = start + piece.index(stripped[0])
        yield first, first + len(stripped)


def _pieces(start: int, end: int, fits: _Fits) -> Iterator[tuple[int, int]]:
    """The span, or parts of it that fit."""
    while not fits(start, end):
        cut = _cut(start, end, fits)
        yield from _stripped(fits.text, start, cut)
        start = cut
    yield from _stripped(fits.text, start, end)


def _cut(start: int, end: int, fits: _Fits) -> int:
    """The furthest place to cut at: between words, else between characters, at least one."""
    end = min(end, start + fits.limit * _WINDOW_CHARACTERS_PER_TOKEN)
    words = [start + word.end() for word in _WORD.finditer(fits.text[start:end])]
    return (
        _furthest(start, words[:-1], fits)
        or _furthest(start, range(start + 1, end + 1), fits)
        or start + 1
    )


def _furthest(start: int, places: Sequence[int], fits: _Fits) -> int | None:
    low, high = 0, len(places)
    while low < high:
        middle = (low + high) // 2
        if fits(start, places[middle]):
            low = middle + 1
        else:
            high = middle
    return places[low - 1] if low else None


def _packed(spans: Sequence[_Span], fits: _Fits, overlap: int) -> Iterator[Chunk]:
    """As many sentences a passage as fit, each passage with at least one new one."""
    first = 0
    while True:
        last = max(first, 0)
        while last + 1 < len(spans) and fits(spans[first].start, spans[last + 1].end):
            last += 1
        yield _chunk(spans[first], spans[last], fits)
        if last + 1 == len(spans):
            return
        first = max(last + 1 - overlap, first + 1)
        while first <= last and not fits(spans[first].start, spans[last + 1].end):
            first += 1


def _chunk(first: _Span, last: _Span, fits: _Fits) -> Chunk:
    text = fits.text[first.start : last.end]
    return Chunk(text, first.headings, first.page, first.start, last.end, fits.count(text))
