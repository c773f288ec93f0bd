"""The only place for reading Word documents."""

from __future__ import annotations

import io
import re
import zipfile

from docx import Document
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml import etree

from retrieval.blocks import Block, Outline, one_line, table_texts
from retrieval.parsers.archives import check_directory, measure
from retrieval.parsers.protocol import DocumentCorrupt, DocumentEncrypted, NotWhatItSays

_ARCHIVE = b"PK\x03\x04"
_COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")
"""MS-CFB: what Word wraps an encrypted document in (and what a Word 97 document is)."""
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


class DocxParser:
    """The body's paragraphs and tables; headers, footers, notes and text boxes are not read."""

    kind = "docx"
    suffixes: tuple[str, ...] = (".docx",)
    media_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

    def check(self, content: bytes) -> None:
        """Raises `NotWhatItSays`, `DocumentEncrypted`, `DocumentCorrupt`, `DocumentExpandsTooFar`.

        By signatures and by the size of the archive's directory alone.
        """
        if content.startswith(_COMPOUND_FILE) and _ENCRYPTED_STREAM in content:
            raise DocumentEncrypted
        if not content.startswith(_ARCHIVE):
            raise NotWhatItSays(kind=self.kind)
        check_directory(content)
        if b"word/" not in content or b"[Content_Types].xml" not in content:
            raise NotWhatItSays(kind=self.kind)

    def parse(self, content: bytes) -> list[Block]:
        """One block a paragraph, list item or table row, under its headings."""
        self.check(content)
        measure(content)
        _refuse_declarations(content)
        outline = Outline()
        for item in Document(io.BytesIO(content)).iter_inner_content():
            if isinstance(item, Table):
                _read_table(item, outline)
            else:
                _read_paragraph(item, outline)
        return outline.finish()


def _refuse_declarations(content: bytes) -> None:
    """ECMA-376 part 2 forbids document type declarations: here they could only be entity bombs."""
    reader = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if not name.endswith((".xml", ".rels")):
                continue
            tree = etree.fromstring(archive.read(name), reader).getroottree()
            if tree.docinfo.internalDTD is not None:
                raise DocumentCorrupt


def _read_paragraph(paragraph: Paragraph, outline: Outline) -> None:
    level = _heading_level(paragraph)
    if level is not None:
        outline.heading(level, paragraph.text)
    else:
        outline.add(paragraph.text, "list" if _is_list_item(paragraph) else "paragraph")


def _heading_level(paragraph: Paragraph) -> int | None:
    """1 for the title and for top headings, None for text."""
    style = paragraph.style.name if paragraph.style is not None else None
    if style == "Title":
        return 1
    found = _HEADING.fullmatch(style or "")
    return int(found[1]) if found else None


def _is_list_item(paragraph: Paragraph) -> bool:
    style = paragraph.style.name if paragraph.style is not None else None
    return (style or "").startswith("List")


def _read_table(table: Table, outline: Outline) -> None:
    rows = [[one_line(cell.text) for cell in row.cells] for row in table.rows]
    for text in table_texts(rows):
        outline.add(text, "table")


PARSER = DocxParser()
