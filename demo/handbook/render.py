"""The only place that makes the handbook's PDF from its Markdown.

`python demo/handbook/render.py [SOURCE [TARGET]]`; the same Markdown gives the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

HERE = Path(__file__).parent
SOURCE = HERE / "returns-handbook.md"
TARGET = HERE / "returns-handbook.pdf"
MARGIN = 26 * mm
BODY = ParagraphStyle(
    "body", fontName="Helvetica", fontSize=11, leading=16, spaceAfter=8, allowWidows=0
)
BULLET = ParagraphStyle("bullet", parent=BODY, leftIndent=14, bulletIndent=3, spaceAfter=4)
CELL = ParagraphStyle("cell", parent=BODY, fontSize=10, leading=13, spaceAfter=0)
HEADINGS = {
    "h1": ParagraphStyle("h1", parent=BODY, fontName="Helvetica-Bold", fontSize=22, leading=28),
    "h2": ParagraphStyle(
        "h2", parent=BODY, fontName="Helvetica-Bold", fontSize=15, leading=20, spaceBefore=16
    ),
    "h3": ParagraphStyle(
        "h3", parent=BODY, fontName="Helvetica-Bold", fontSize=12, leading=16, spaceBefore=8
    ),
}
GRID = TableStyle(
    [
        ("GRID", (0, 0), (-1, -1), 0.5, colors.HexColor("#b8c0b8")),
        ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#e6ece6")),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ]
)


def render(source: Path = SOURCE, target: Path = TARGET) -> None:
    """Write the Markdown file `source` as the PDF file `target` (A4, numbered pages)."""
    tokens = MarkdownIt("commonmark").enable("table").parse(source.read_text(encoding="utf-8"))
    title = next(token.content for token in tokens if token.type == "inline")
    document = BaseDocTemplate(
        str(target), pagesize=A4, title=title, author="Acme Outdoor", invariant=True
    )
    frame = Frame(MARGIN, MARGIN, A4[0] - 2 * MARGIN, A4[1] - 2 * MARGIN)
    document.addPageTemplates(PageTemplate("page", frames=[frame], onPageEnd=_number))
    document.build(list(_flowables(tokens)))


def _number(canvas: Canvas, document: BaseDocTemplate) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica", 8)
    canvas.drawCentredString(A4[0] / 2, 14 * mm, f"Page {document.page}")
    canvas.restoreState()


def _flowables(tokens: list[Token]) -> Iterator[Flowable]:
    """One flowable a heading, paragraph, list item or table, in the order of the text."""
    listed = tabled = False
    rows: list[list[Paragraph]] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        listed = _within(token, "bullet_list", within=listed)
        tabled = _within(token, "table", within=tabled)
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and tabled:
            rows[-1].append(Paragraph(_markup(token), CELL))
        elif token.type == "inline" and before:
            yield _block(token, HEADINGS.get(before.tag), listed=listed)
        elif token.type == "table_close":
            yield Table(rows, colWidths=[95 * mm, 59 * mm], style=GRID, repeatRows=1)
        elif token.type == "bullet_list_close":
            yield Spacer(1, 6)


def _within(token: Token, kind: str, *, within: bool) -> bool:
    return within if not token.type.startswith(kind) else token.type == f"{kind}_open"


def _block(token: Token, heading: ParagraphStyle | None, *, listed: bool) -> Paragraph:
    if heading:
        return Paragraph(_markup(token), ParagraphStyle("heading", parent=heading, keepWithNext=1))
    if listed:
        return Paragraph(_markup(token), BULLET, bulletText="-")
    return Paragraph(_markup(token), BODY)


def _markup(token: Token) -> str:
    """Inline Markdown in the small XML that reportlab's paragraphs read."""
    tags = {"strong_open": "<b>", "strong_close": "</b>", "em_open": "<i>", "em_close": "</i>"}
    return "".join(
        tags.get(part.type, " " if part.type == "softbreak" else escape(part.content, quote=False))
        for part in token.children or []
    )


if __name__ == "__main__":
    render(*(Path(argument) for argument in sys.argv[1:3]))
