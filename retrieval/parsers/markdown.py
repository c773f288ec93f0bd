"""The only place for reading Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from retrieval.blocks import Block, Kind, Outline, one_line, table_texts
from retrieval.decoding import decode
from retrieval.parsers import html
from retrieval.parsers.protocol import DocumentNestedTooDeep, NotWhatItSays

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?\n---[ \t]*(?:\n|\Z)", re.DOTALL)
DEEPEST = 60
"""Levels of quotes, lists and their items; what is deeper, the library leaves out silently."""
_GRAMMAR = MarkdownIt("commonmark", {"maxNesting": DEEPEST}).enable("table")
_CONTAINERS = frozenset({"blockquote_open", "list_item_open"})


class MarkdownParser:
    """CommonMark with tables; front matter is dropped."""

    kind = "markdown"
    suffixes: tuple[str, ...] = (".md", ".markdown")
    media_type = "text/markdown"

    def check(self, content: bytes) -> None:
        """Raises `NotWhatItSays` for binary content."""
        self._text(content)

    def parse(self, content: bytes) -> list[Block]:
        """One block a paragraph, list item, table row or listing, under its headings.

        Raises `DocumentNestedTooDeep`.
        """
        text = _FRONT_MATTER.sub("", self._text(content).replace("\r\n", "\n"))
        outline, tokens = Outline(), _GRAMMAR.parse(text)
        if any(token.type in _CONTAINERS and token.level + 1 >= DEEPEST for token in tokens):
            raise DocumentNestedTooDeep(levels=DEEPEST)
        _read(iter(tokens), outline)
        return outline.finish()

    def _text(self, content: bytes) -> str:
        text = decode(content)
        if text is None:
            raise NotWhatItSays(kind=self.kind)
        return text


def _read(tokens: Iterator[Token], outline: Outline) -> None:
    """Walks the flat list of tokens; the handlers take what belongs to them off it."""
    lists = 0
    for token in tokens:
        lists += {"list_item_open": 1, "list_item_close": -1}.get(token.type, 0)
        if token.type == "heading_open":
            outline.heading(int(token.tag[1]), _plain(next(tokens)))
        elif token.type == "table_open":
            _read_table(tokens, outline)
        elif token.type == "html_block":
            outline.add(html.plain_text(token.content))
        else:
            _read_block(token, outline, in_list=lists > 0)


def _read_block(token: Token, outline: Outline, *, in_list: bool) -> None:
    kind: Kind = "list" if in_list else "paragraph"
    if token.type == "inline":
        outline.add(_plain(token), kind)
    elif token.type in ("fence", "code_block"):
        outline.add(token.content, "code")


def _read_table(tokens: Iterator[Token], outline: Outline) -> None:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_plain(token))
    for text in table_texts(rows):
        outline.add(text, "table")


def _plain(inline: Token) -> str:
    return one_line("".join(_words(inline.children or ())))


def _words(children: Iterable[Token]) -> Iterator[str]:
    for child in children:
        if child.type in ("softbreak", "hardbreak"):
            yield " "
        elif child.type != "html_inline":
            yield child.content  # of a link or an emphasis it is empty, and its text comes next


PARSER = MarkdownParser()
