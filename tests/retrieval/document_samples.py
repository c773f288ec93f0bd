"""The only place that makes documents for the tests: good ones and bad ones, as bytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from functools import cache

from docx import Document
from pypdf import PdfReader, PdfWriter
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas


def pdf(*pages: Sequence[str]) -> bytes:
    """One page a list of lines."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4)
    for lines in pages:
        for place, line in enumerate(lines):
            canvas.drawString(72, 770 - 16 * place, line)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def pdf_bomb(size: int = 200 * 1024 * 1024) -> bytes:
    """A page whose content is a small stream that unpacks to `size` bytes."""
    packed = zlib.compress(bytes(size), 9)
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /Resources << /ProcSet [/PDF] >> /Contents 4 0 R >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed),
    ]
    file, places = b"%PDF-1.7\n", []
    for number, part in enumerate(parts, start=1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(file)
    file += b"xref\n0 5\n0000000000 65535 f \n" + table
    return file + b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % start


def encrypted_pdf(*, password: str) -> bytes:
    """A page that opens with `password`; with an empty one, for everybody."""
    writer = PdfWriter(PdfReader(io.BytesIO(pdf(["The secret word is marmalade."]))))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="AES-256")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def docx() -> bytes:
    """Headings, a list and a table."""
    document = Document()
    document.add_heading("Warranty", level=1)
    document.add_heading("Duration", level=2)
    document.add_paragraph("Appliances carry a guarantee of 24 months.")
    document.add_paragraph("Batteries: 6 months", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        [cell for row in table.rows for cell in row.cells],
        ["Part", "Months", "Hinge", "12"],
        strict=True,
    ):
        cell.text = text
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def docx_with(**members: bytes) -> bytes:
    """The document above with members replaced or added; `word__document` is word/document.xml,
    all others are binary.
    """
    named = {
        name.replace("__", "/") + (".xml" if name == "word__document" else ".bin"): content
        for name, content in members.items()
    }
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(docx())) as source,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            if name not in named:
                target.writestr(name, source.read(name))
        for name, content in named.items():
            target.writestr(name, content)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    """An archive of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@cache
def bomb(size: int = 210 * 1024 * 1024) -> bytes:
    """The document above with a member that unpacks to `size` zeros."""
    return docx_with(word__media=bytes(size))


def understating_docx() -> bytes:
    """A bomb whose directory says that its member unpacks to 100 bytes."""
    size = 210 * 1024 * 1024
    return bomb(size).replace(struct.pack("<L", size), struct.pack("<L", 100))


def many_named_docx() -> bytes:
    """A directory that says that it has 60,000 members."""
    content = bytearray(docx())
    end = content.rfind(b"PK\x05\x06")
    content[end + 8 : end + 12] = struct.pack("<HH", 60_000, 60_000)
    return bytes(content)


def encrypted_docx() -> bytes:
    """What Word writes with a password: a compound file with the package as a stream."""
    return bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504) + "EncryptedPackage".encode("utf-16-le")


ENTITY_BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">
<w:body><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:body></w:document>"""
