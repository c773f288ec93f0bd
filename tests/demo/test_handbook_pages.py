"""The only place that holds the handbook's two forms together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pypdf import PdfReader

from demo.handbook import render

PAGE = re.compile(r"\nPage \d+\n?$")


def text(path: Path) -> str:
    """The words of a PDF without its page numbers."""
    pages = (PAGE.sub("", page.extract_text()) for page in PdfReader(path).pages)
    return " ".join(" ".join(pages).split())


def test_rendering_again_gives_the_same_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    render.render(render.SOURCE, first)
    render.render(render.SOURCE, second)
    assert first.read_bytes() == second.read_bytes()
    assert text(first) == text(render.TARGET)


def test_every_heading_and_sentence_of_the_markdown_is_in_the_pdf() -> None:
    found = text(render.TARGET)
    for line in render.SOURCE.read_text(encoding="utf-8").splitlines():
        plain = line.lstrip("#- ").strip()
        if plain and not plain.startswith("|"):
            assert plain in found


def test_it_has_six_to_eight_numbered_pages_and_is_small() -> None:
    pages = PdfReader(render.TARGET).pages
    assert 6 <= len(pages) <= 8
    assert all(f"Page {number}" in page.extract_text() for number, page in enumerate(pages, 1))
    assert render.TARGET.stat().st_size < 100_000


@pytest.mark.parametrize(
    "rule",
    [
        "within 30 days of delivery",
        "return window of 14 days",
        "warranty of 24 months",
        "Refunds up to 50.00 EUR",
        "cannot be exchanged for cash",
    ],
)
def test_the_rules_that_the_story_asks_for_are_in_it(rule: str) -> None:
    assert rule in text(render.TARGET)
