"""The only place for reading web pages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from retrieval.blocks import Block, Kind, Outline, one_line, row_text
from retrieval.decoding import decode
from retrieval.parsers.protocol import NotWhatItSays

_TAG = re.compile(r"<(?:!doctype html|[a-z][a-z0-9]*[\s>/])", re.IGNORECASE)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset=["']?([a-z0-9_:-]+)""", re.IGNORECASE)
_UNREAD = frozenset({"script", "style", "noscript", "template", "svg", "head", "-comment"})
_NOT_SHOWN = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE
)
_LEVELS = {f"h{level}": level for level in range(1, 7)}
_INLINE = re.compile(
    "a|abbr|b|bdi|bdo|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|"
    "strong|sub|sup|time|tt|u|var|wbr|-text|br"
)
_KINDS: dict[str, Kind] = {"li": "list", "dt": "list", "dd": "list", "pre": "code"}


class HtmlParser:
    """What a reader of the page sees as text: no scripts, styles and hidden elements.

    Hidden is what says so itself (`hidden`, or `display: none` and `visibility: hidden` in its
    `style`): style sheets are not read. What `aria-hidden` keeps from screen readers is seen.
    """

    kind = "html"
    suffixes: tuple[str, ...] = (".html", ".htm")
    media_type = "text/html"

    def check(self, content: bytes) -> None:
        """Raises `NotWhatItSays` for binary content and for text without a single tag."""
        self._text(content)

    def parse(self, content: bytes) -> list[Block]:
        """One block a paragraph, list item, table row or listing, under its headings."""
        return _read(self._text(content)).finish()

    def _text(self, content: bytes) -> str:
        text = _declared(content) or decode(content)
        if text is None or not _TAG.search(text):
            raise NotWhatItSays(kind=self.kind)
        return text


def plain_text(markup: str) -> str:
    """The text in a piece of HTML, blocks on lines of their own."""
    return "\n".join(block.text for block in _read(markup).finish())


def _declared(content: bytes) -> str | None:
    """`content` in the encoding that its own `meta` names, where that holds."""
    found = _CHARSET.search(content[:4096])
    if found is None:
        return None
    try:
        return content.decode(found[1].decode("ascii"))
    except (LookupError, UnicodeDecodeError):
        return None


def _read(markup: str) -> Outline:
    outline = Outline()
    page = _Page(outline)
    for node, entered in _walk(LexborHTMLParser(markup).root):
        if entered:
            page.enter(node)
        else:
            page.leave(node)
    page.flush()
    return outline


def _walk(root: LexborNode | None) -> Iterator[tuple[LexborNode, bool]]:
    """Each node when it opens (True) and when it closes; not recursive: pages may nest deeply."""
    stack: list[tuple[LexborNode, bool]] = [(root, True)] if root is not None else []
    while stack:
        node, entered = stack.pop()
        if entered and _is_hidden(node):
            continue
        yield node, entered
        if not entered or node.tag in _UNREAD:
            continue
        stack.append((node, False))
        stack.extend((child, True) for child in reversed(list(node.iter(include_text=True))))


def _is_hidden(node: LexborNode) -> bool:
    if (node.tag or "-").startswith("-"):  # text, a comment: only elements have attributes
        return False
    attributes = node.attributes
    if "hidden" in attributes:
        return (attributes["hidden"] or "").lower() != "until-found"
    return bool(_NOT_SHOWN.search(attributes.get("style") or ""))


class _Page:
    """Gathers the running text until something ends it."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._text: list[str] = []
        self._header: list[str] = []
        self._named = True  # whether a row has named the columns, or there is nothing to name
        self._row: list[str] | None = None

    def enter(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if tag == "-text":
            self._text.append(node.text_content or "")
        elif tag == "br":
            self._text.append("\n")
        elif not _INLINE.fullmatch(tag):
            self._break()
        if tag == "tr":
            self._row = []

    def leave(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if tag in _LEVELS and self._row is None:
            self._outline.heading(_LEVELS[tag], self._taken())
        elif tag in ("td", "th") and self._row is not None:
            self._row.append(one_line(self._taken()))
        elif tag == "tr":
            self._end_row(node)
        elif tag == "table":
            self._end_header()
        elif not _INLINE.fullmatch(tag):
            self._break(_KINDS.get(tag, "paragraph"))

    def flush(self, kind: Kind = "paragraph") -> None:
        text = self._taken()
        lines = [text] if kind == "code" else [one_line(line) for line in text.split("\n")]
        self._outline.add("\n".join(line for line in lines if line), kind)

    def _break(self, kind: Kind = "paragraph") -> None:
        if self._row is None:
            self.flush(kind)
        else:
            self._text.append(" ")  # a paragraph within a cell does not end the cell

    def _end_row(self, row: LexborNode) -> None:
        cells, self._row = self._row or [], None
        if not self._header and row.css_first("td") is None:
            self._header, self._named = cells, False
        else:
            self._outline.add(row_text(self._header, cells), "table")
            self._named = True

    def _end_header(self) -> None:
        if not self._named:
            self._outline.add(row_text((), self._header), "table")
        self._header, self._named = [], True

    def _taken(self) -> str:
        text, self._text = "".join(self._text), []
        return text


PARSER = HtmlParser()
