"""The only place for what a parsed document is: blocks of text under headings."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal

import msgspec

Kind = Literal["paragraph", "list", "table", "code", "heading"]

_FOLDED = str.maketrans(
    {
        "\x00": None,  # PostgreSQL's text cannot hold it
        "\u00ad": None,  # a soft hyphen would split a word that a reader sees whole
        "\u00a0": " ",
        "\ufb00": "ff",
        "\ufb01": "fi",
        "\ufb02": "fl",
        "\ufb03": "ffi",
        "\ufb04": "ffl",
        "\r": "\n",
    }
)


class Block(msgspec.Struct, frozen=True):
    """One paragraph, list item, table row or listing, with the headings above it.

    `page` counts from 1 and is None where the format has no pages. `text` is never blank.
    """

    text: str
    headings: tuple[str, ...] = ()
    page: int | None = None
    kind: Kind = "paragraph"


def clean(text: str) -> str:
    """`text` as PostgreSQL can store it and a person reads it (NFC, no NUL, no lone surrogates)."""
    text = text.replace("\r\n", "\n").translate(_FOLDED)
    text = text.encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFC", text)


def one_line(text: str) -> str:
    """`text` with each run of white space as one blank."""
    return " ".join(text.split())


def row_text(header: Sequence[str], cells: Sequence[str]) -> str:
    """A table row that is understood alone: each cell with the name of its column."""
    if len(header) != len(cells):
        return " | ".join(cell for cell in cells if cell)
    named = zip(header, cells, strict=True)
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in named if cell)


def table_texts(rows: Sequence[Sequence[str]]) -> list[str]:
    """A text for each row under the first, which names the columns; the first itself if alone."""
    header, *body = rows or [[]]
    return [row_text(header, row) for row in body] or [row_text((), header)]


class Outline:
    """Collects blocks in order and knows which headings stand above the next one.

    A heading is not a block, it is on each block below it; one with nothing below becomes a
    block of its own, so that no text is lost.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._bare = False

    def heading(self, level: int, text: str) -> None:
        """A heading of `level` (1 is the top) closes those of its own level and below."""
        text = one_line(clean(text))
        if not text:
            return
        if self._path and level <= self._path[-1][0]:
            self._keep_bare()
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, text))
        self._bare = True

    def add(self, text: str, kind: Kind = "paragraph", page: int | None = None) -> None:
        """A block under the headings in force; blank text is none."""
        text = clean(text).strip()
        if text:
            self.blocks.append(Block(text, self._headings(), page, kind))
            self._bare = False

    def finish(self) -> list[Block]:
        """All blocks, in the order in which they stand in the document."""
        self._keep_bare()
        return self.blocks

    def _headings(self) -> tuple[str, ...]:
        return tuple(text for _, text in self._path)

    def _keep_bare(self) -> None:
        if self._bare:
            *above, own = self._headings()
            self.blocks.append(Block(own, tuple(above), None, "heading"))
        self._bare = False
