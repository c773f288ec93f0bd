"""The only place that reads lines of any length from a file, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PIECE = 1 << 18
LONGEST_ENTRY = 65_535
LONGEST_BODY = 1 << 24


def pieces(path: Path, longest: int) -> Iterator[list[bytes]]:
    """The lines of the file without their newlines, many at a time; none if there is no file.

    A line that is longer than `longest` comes in pieces, of which none can be a good line.
    """
    if not path.is_file():
        return
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            yield lines
            while len(rest) > longest:
                yield [rest[: longest + 1]]
                rest = rest[longest + 1 :]
    if rest:
        yield [rest]


def lines_of(path: Path, longest: int = LONGEST_ENTRY) -> Iterator[bytes]:
    """The same, one by one."""
    for lines in pieces(path, longest):
        yield from lines


def batches(path: Path, first: int, width: int) -> Iterator[tuple[int, list[bytes]]]:
    """The entries' lines, and the index of the first of them, cut where the tiles are cut.

    The first line is the entry `first`; each batch but the last ends before a multiple of `width`.
    """
    index, waiting = first, list[bytes]()
    for lines in pieces(path, LONGEST_ENTRY):
        waiting += lines
        at = 0
        while len(waiting) - at >= (room := width - index % width):
            yield index, waiting[at : at + room]
            index, at = index + room, at + room
        del waiting[:at]
    if waiting:
        yield index, waiting
