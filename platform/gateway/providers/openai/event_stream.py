"""The only place that parses server-sent events (WHATWG HTML, 9.2.6): bytes in, data out."""

from __future__ import annotations

import re
from collections.abc import Iterator

LINE_END = re.compile(rb"\r\n|\n|\r")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """An event was longer than allowed."""


class EventStream:
    """Collects events from chunks that may be split anywhere, within a character too."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._unfinished: list[bytes] = []
        self._data: list[bytes] = []
        self._after_return = False
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the data of each event that `chunk` completes.

        Raises EventTooLong when an event exceeds the limit in bytes. What follows the last blank
        line when the stream ends is, by the standard, no event.
        """
        for line in self._lines(chunk):
            if line:
                self._take(line)
            elif self._data:
                yield b"\n".join(self._data)
                self._data.clear()
                self._size = 0

    def _lines(self, chunk: bytes) -> list[bytes]:
        if self._after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the other half of a CRLF
        elif not chunk:
            return []
        self._after_return = chunk.endswith(b"\r")
        self._grow(len(chunk))
        first, *rest = LINE_END.split(chunk)
        self._unfinished.append(first)
        if not rest:
            return []
        lines = [b"".join(self._unfinished), *rest[:-1]]
        self._unfinished = [rest[-1]]
        self._size = len(rest[-1]) + sum(map(len, self._data))
        return lines

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise EventTooLong

    def _take(self, line: bytes) -> None:
        if self._at_start:
            line = line.removeprefix(BYTE_ORDER_MARK)
        self._at_start = False
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
