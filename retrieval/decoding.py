"""The only place for turning bytes into text."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f]")
_BINARY_SIGNATURES = ("%PDF-", "PK\x03\x04", "{\\rtf")


def decode(content: bytes) -> str | None:
    """The text that `content` is: by its byte order mark, else UTF-8, else Windows-1252.

    None where it is no text: a binary format's signature, control characters, bytes that none of
    the encodings has.
    """
    text = _decoded(content, _encodings(content))
    if text is None or _BINARY.search(text) or text.startswith(_BINARY_SIGNATURES):
        return None
    return text


def _encodings(content: bytes) -> tuple[str, ...]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return (encoding,)
    return ("utf-8", "cp1252")


def _decoded(content: bytes, encodings: tuple[str, ...]) -> str | None:
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None
