"""The only place for citations: what lets a reader find a passage again."""

from __future__ import annotations

import re
from uuid import UUID

import msgspec

from retrieval.chunking import sentences
from retrieval.models import Document, Passage

MAX_QUOTE = 300
_WORD = re.compile(r"\w+")


class Citation(msgspec.Struct, frozen=True):
    """Where a passage stands: document and passage by id, page or heading (None if it has none).

    `quote` is verbatim from the passage.
    """

    document: UUID
    title: str
    page: int | None
    heading: str | None
    passage: UUID
    quote: str

    @property
    def label(self) -> str:
        """For people: "Returns handbook, p. 3" or "Returns handbook, Refunds > Timing"."""
        places = [self.heading, f"p. {self.page}" if self.page else None]
        return ", ".join([self.title, *(place for place in places if place)])


def cite(passage: Passage, document: Document, *, query: str) -> Citation:
    """The citation of `passage`, quoting the sentence that shares most words with `query`."""
    return Citation(
        document=document.pk,
        title=document.title,
        page=passage.page,
        heading=" > ".join(passage.headings) or None,
        passage=passage.pk,
        quote=quote(passage.text, query=query),
    )


def quote(text: str, *, query: str) -> str:
    """The sentence of `text` with most of the query's words, the first of equals, shortened."""
    asked = _words(query)
    pieces = [text[start:end] for start, end in sentences(text)]
    best = max(pieces, key=lambda piece: len(asked & _words(piece)), default="")
    if len(best) <= MAX_QUOTE:
        return best
    return best[:MAX_QUOTE].rpartition(" ")[0] or best[:MAX_QUOTE]


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.lower()) if len(word) > 2}
