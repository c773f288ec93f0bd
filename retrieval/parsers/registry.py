"""The only place for the list of document formats."""

from __future__ import annotations

from pathlib import PurePosixPath

from audit.errors import Problem
from retrieval.parsers import docx, html, markdown, pdf, text
from retrieval.parsers.protocol import Parser

PARSERS: tuple[Parser, ...] = (
    text.PARSER,
    markdown.PARSER,
    html.PARSER,
    pdf.PARSER,
    docx.PARSER,
)


class FormatUnknown(Problem):
    """Documents named like {filename} cannot be read; these can: {known}."""

    code = "format_unknown"
    status = 415


def by_filename(filename: str) -> Parser:
    """The parser for the name's ending. Raises `FormatUnknown`."""
    suffix = PurePosixPath(filename).suffix.lower()
    for parser in PARSERS:
        if suffix in parser.suffixes:
            return parser
    known = ", ".join(suffix for parser in PARSERS for suffix in parser.suffixes)
    raise FormatUnknown(filename=filename, known=known)
