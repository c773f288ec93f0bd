"""The only place for what a document parser is, and for the reasons why a document is refused."""

from __future__ import annotations

from typing import Protocol

from audit.errors import Problem
from retrieval.blocks import Block


class NotWhatItSays(Problem):
    """The document's content is not what its name says: it is no {kind} file."""

    code = "not_what_it_says"
    status = 422


class DocumentEmpty(Problem):
    """The document holds no text. Scanned pages are pictures: recognise their text first."""

    code = "document_empty"
    status = 422


class DocumentEncrypted(Problem):
    """The document is encrypted: save it without a password and upload it again."""

    code = "document_encrypted"
    status = 422


class DocumentCorrupt(Problem):
    """The document is damaged: it cannot be read."""

    code = "document_corrupt"
    status = 422


class DocumentExpandsTooFar(Problem):
    """The document unpacks to far more than a document holds."""

    code = "document_expands_too_far"
    status = 422


class DocumentTooLong(Problem):
    """The document is too long: it has more than {limit} {unit}."""

    code = "document_too_long"
    status = 422


class DocumentNestedTooDeep(Problem):
    """The document has text nested deeper than {levels} levels, which would not be read."""

    code = "document_nested_too_deep"
    status = 422


class DocumentTooCostly(Problem):
    """The document takes more than {seconds} s or {megabytes} MB of memory to read."""

    code = "document_too_costly"
    status = 422


class Parser(Protocol):
    """Reads one format. A module in this folder holds one as `PARSER`.

    It knows neither Django nor the database: it runs in a process of its own, which is killed when
    it takes too long, and any exception but a `Problem` means that the document is damaged.
    """

    kind: str
    """The format's name and the module's: "pdf"."""
    suffixes: tuple[str, ...]
    """File name endings in lower case, with the dot."""
    media_type: str

    def check(self, content: bytes) -> None:
        """Cheap and safe on any bytes, for the moment of upload: signatures, no parsing.

        Raises `NotWhatItSays`, or what else a glance can tell.
        """

    def parse(self, content: bytes) -> list[Block]:
        """The blocks in reading order. Raises the problems of this module."""
