"""The only place that parses a document: a process of its own, with limits, without secrets.

Run as `python -m retrieval.parsing_child KIND`: the document's bytes come in on standard input, a
`Parsed` goes out on standard output as JSON. Any other end means that the document is damaged (the
process failed) or costs too much (the system killed it).
"""

from __future__ import annotations

import importlib
import logging
import resource
import sys

import msgspec

from audit.errors import Problem
from retrieval.blocks import Block
from retrieval.parsers.protocol import DocumentEmpty, DocumentTooLong, Parser

CPU_SECONDS = 30
MEMORY_BYTES = 1536 * 1024 * 1024
MAX_CHARACTERS = 5_000_000
OUT_OF_MEMORY = 3
"""The exit status that says so."""


class Refused(msgspec.Struct, frozen=True):
    """A problem on its way to the parent process."""

    code: str
    details: dict[str, str | int | list[str] | None]


class Parsed(msgspec.Struct, frozen=True):
    """The blocks, or why there are none."""

    blocks: list[Block] = []
    refused: Refused | None = None


def parse(kind: str, content: bytes) -> list[Block]:
    """The document's blocks. Raises the parser's problems, `DocumentEmpty`, `DocumentTooLong`."""
    blocks = parser_for(kind).parse(content)
    if not blocks:
        raise DocumentEmpty
    if sum(len(block.text) for block in blocks) > MAX_CHARACTERS:
        raise DocumentTooLong(limit=MAX_CHARACTERS, unit="characters")
    return blocks


def parser_for(kind: str) -> Parser:
    """The one module that is needed: importing all formats takes longer than most documents."""
    parser: Parser = importlib.import_module(f"retrieval.parsers.{kind}").PARSER
    return parser


def main(kind: str) -> int:
    """Parse standard input; the exit status is 0, problems of the document included."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable()  # pypdf tells the log about each oddity of a file
    try:
        parsed = Parsed(parse(kind, sys.stdin.buffer.read()))
    except Problem as problem:
        parsed = Parsed(refused=Refused(problem.code, dict(problem.details)))
    except MemoryError:
        return OUT_OF_MEMORY
    sys.stdout.buffer.write(msgspec.json.encode(parsed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
