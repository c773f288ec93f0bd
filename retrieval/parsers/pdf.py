"""The only place for reading PDF files."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from pypdf import PdfReader
from pypdf.errors import LimitReachedError

from retrieval.blocks import Block, Outline, one_line
from retrieval.parsers.protocol import (
    DocumentEncrypted,
    DocumentExpandsTooFar,
    DocumentTooLong,
    NotWhatItSays,
)

MAX_PAGES = 2_000
_HEADER_WITHIN_BYTES = 1024
"""ISO 32000-1, annex H.3.4.1: readers accept the header anywhere in the first 1024 bytes."""
_BULLET = re.compile(r"(?:[•‣◦▪\u2013*·-]|\(?\d{1,2}[.)]|[a-z]\))\s")
_ENDED = re.compile(r"[.!?:;…][\"'\u201d\u2019)\]]*$")
_FIRST_SENTENCE = re.compile(r".*?[.!?…][\"'\u201d\u2019)\]]*(?=\s|$)", re.DOTALL)
_DIGITS = re.compile(r"\d+")
_SHORT_LINE = 0.7
_RUNNING_FROM_PAGES = 3


class PdfParser:
    """Text by page. Headings are not told apart from text: a page is what a citation names."""

    kind = "pdf"
    suffixes: tuple[str, ...] = (".pdf",)
    media_type = "application/pdf"

    def check(self, content: bytes) -> None:
        """Raises `NotWhatItSays` where the signature is missing."""
        if b"%PDF-" not in content[:_HEADER_WITHIN_BYTES]:
            raise NotWhatItSays(kind=self.kind)

    def parse(self, content: bytes) -> list[Block]:
        """One block a paragraph, as far as the lines show where one ends.

        Raises `DocumentEncrypted` where a password is needed to open it, `DocumentTooLong`,
        `DocumentExpandsTooFar` where a stream unpacks to more than pypdf's bounds.
        """
        self.check(content)
        try:
            return _read(content)
        except LimitReachedError as bound:
            raise DocumentExpandsTooFar from bound


def _read(content: bytes) -> list[Block]:
    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentEncrypted
    if len(reader.pages) > MAX_PAGES:
        raise DocumentTooLong(limit=MAX_PAGES, unit="pages")
    pages = [_lines(page.extract_text()) for page in reader.pages]
    paragraphs = [_paragraphs(page) for page in _without_running_lines(pages)]
    _mend_page_breaks(paragraphs)
    return _blocks(paragraphs)


def _lines(text: str) -> list[str]:
    return [one_line(line) for line in text.splitlines()]


def _without_running_lines(pages: Sequence[list[str]]) -> list[list[str]]:
    """The pages without the header and footer that most of them share, page numbers aside."""
    if len(pages) < _RUNNING_FROM_PAGES:
        return list(pages)
    seen = Counter(mark for page in pages for mark in {_mark(line) for line in _edges(page)})
    running = {mark for mark, count in seen.items() if mark and count > len(pages) / 2}
    return [_trimmed(page, running) for page in pages]


def _edges(page: list[str]) -> list[str]:
    filled = [line for line in page if line]
    return [*filled[:1], *filled[-1:]]


def _mark(line: str) -> str:
    return _DIGITS.sub("#", line)


def _trimmed(page: list[str], running: set[str]) -> list[str]:
    filled = [at for at, line in enumerate(page) if line]
    dropped = {at for at in (*filled[:1], *filled[-1:]) if _mark(page[at]) in running}
    return [line for at, line in enumerate(page) if at not in dropped]


def _paragraphs(lines: list[str]) -> list[str]:
    """Lines joined to paragraphs; a word divided at the end of a line is made whole."""
    widest = max((len(line) for line in lines), default=0)
    paragraphs: list[str] = []
    running = ""
    for line, following in pairwise([*lines, ""]):
        running = _joined(running, line)
        if _ends_paragraph(line, following, widest):
            paragraphs.append(running)
            running = ""
    return [paragraph for paragraph in paragraphs if paragraph]


def _joined(running: str, line: str) -> str:
    if running.endswith("-") and running[-2:-1].isalpha() and line[:1].islower():
        return running[:-1] + line
    return f"{running} {line}".strip()


def _ends_paragraph(line: str, following: str, widest: int) -> bool:
    if not following or _BULLET.match(following):
        return True
    return len(line) < _SHORT_LINE * widest and not following[0].islower()


def _mend_page_breaks(pages: list[list[str]]) -> None:
    """A sentence that runs over a page's end is moved whole to the page where it begins."""
    for page, following in pairwise(pages):
        if not page or not following or _ENDED.search(page[-1]) or not following[0][0].islower():
            continue
        sentence = _FIRST_SENTENCE.match(following[0])
        tail = sentence[0] if sentence else following[0]
        page[-1] = _joined(page[-1], tail)
        following[0] = following[0][len(tail) :].lstrip()
        if not following[0]:
            del following[0]


def _blocks(pages: Sequence[list[str]]) -> list[Block]:
    outline = Outline()
    for number, paragraphs in enumerate(pages, start=1):
        for paragraph in paragraphs:
            outline.add(paragraph, "list" if _BULLET.match(paragraph) else "paragraph", number)
    return outline.finish()


PARSER = PdfParser()
