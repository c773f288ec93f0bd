"""The only place for reading plain text."""

from __future__ import annotations

import re

from retrieval.blocks import Block, Outline
from retrieval.decoding import decode
from retrieval.parsers.protocol import NotWhatItSays

_BLANK_LINES = re.compile(r"\n[ \t\f\v]*(?:\n[ \t\f\v]*)+")
_HTML = re.compile(r"\s*<(?:!doctype html|html)\b", re.IGNORECASE)


class TextParser:
    """Paragraphs are set apart by blank lines."""

    kind = "text"
    suffixes: tuple[str, ...] = (".txt",)
    media_type = "text/plain"

    def check(self, content: bytes) -> None:
        """Raises `NotWhatItSays` for binary content and for web pages."""
        self._text(content)

    def parse(self, content: bytes) -> list[Block]:
        """One block a paragraph, without headings."""
        outline = Outline()
        for paragraph in _BLANK_LINES.split(self._text(content).replace("\r\n", "\n")):
            outline.add(paragraph)
        return outline.finish()

    def _text(self, content: bytes) -> str:
        text = decode(content)
        if text is None or _HTML.match(text):
            raise NotWhatItSays(kind=self.kind)
        return text


PARSER = TextParser()
