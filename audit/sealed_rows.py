"""The only place that reads sealed entries, in order, with what is private of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from audit import bodies, canonical, subjects
from audit.bodies import Subject
from audit.entries import ROW, SEALED, fields_of
from audit.models import Checkpoint
from audit.selections import Selection

# Entries have up to 64 kB and bodies more, so rows are read by their number and by their bytes.
MOST_BYTES = 4 << 20
LOOKED_AHEAD = 10_000

RANGE = f"""
FROM {SEALED}
LEFT JOIN audit.body ON body.log_id = entry.log_id AND body.entry_id = entry.id
LEFT JOIN audit.subject_key AS key ON key.id = body.subject
WHERE leaf.log_id = %s AND leaf.index >= %s AND leaf.index < %s
ORDER BY leaf.index
"""
ROWS = f"SELECT leaf.index, body.sealed, key.id, key.wrapped, {ROW} {RANGE}"
# PostgreSQL knows these without reading the bytes.
SIZES = f"""
SELECT leaf.index, octet_length(entry.payload) + coalesce(octet_length(body.sealed), 0) {RANGE}
"""


class SealedRow(msgspec.Struct, frozen=True):
    """A sealed entry as it is read: its place, its body, the body's key, its columns."""

    index: int
    sealed: bytes | None
    key: tuple[UUID, bytes] | None
    entry: tuple[Any, ...]

    @property
    def id(self) -> UUID:
        """The entry's id."""
        return self.entry[0]  # type: ignore[no-any-return]

    def fits(self, selection: Selection) -> bool:
        """Whether the entry is selected."""
        entry = fields_of(self.entry)
        return selection.fits(
            kind=entry["kind"],
            actor=entry["actor_id"],
            correlation=entry["correlation"],
            recorded_at=entry["recorded_at"],
        )


def chunks(checkpoint: Checkpoint, start: int, count: int) -> Iterator[list[SealedRow]]:
    """The rows from `start` to the checkpoint's size, up to `count` and MOST_BYTES at a time.

    Each chunk is a statement of its own. What is sealed never changes, so no transaction need stay
    open for as long as an export takes; and whoever is told of the progress can make it known at
    once.
    """
    for first in range(start, checkpoint.size, LOOKED_AHEAD):
        end = min(first + LOOKED_AHEAD, checkpoint.size)
        sizes = _asked(SIZES, checkpoint, first, end)
        for begin, behind in pairwise([*_cuts(sizes, count), end]):
            yield [_row(*columns) for columns in _asked(ROWS, checkpoint, begin, behind)]


def _asked(query: str, checkpoint: Checkpoint, first: int, end: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, [checkpoint.log_id, first, end])
        return list(cursor.fetchall())


def _cuts(sizes: list[tuple[Any, ...]], count: int) -> Iterator[int]:
    """The indexes at which chunks begin."""
    rows, held = 0, 0
    for index, size in sizes:
        if rows in {0, count} or held + size > MOST_BYTES:
            yield index
            rows, held = 0, 0
        rows, held = rows + 1, held + size


def _row(index: int, sealed: Any, key: UUID | None, wrapped: Any, *entry: Any) -> SealedRow:
    return SealedRow(
        index,
        bytes(sealed) if sealed is not None else None,
        (key, bytes(wrapped)) if key is not None else None,
        entry,
    )


class Keys:
    """The keys of the subjects met so far, up to a bound."""

    MOST = 10_000

    def __init__(self, *, may_open: bool) -> None:
        self._may_open = may_open
        self._known: dict[UUID, Subject] = {}

    def opened(self, row: SealedRow) -> bytes:
        """The line of the row's body; nothing where there is none, or nothing that opens it."""
        if not self._may_open or row.sealed is None or row.key is None:
            return b""
        body = bodies.open_(row.sealed, self._of(row.key), row.id)
        return canonical.encode({"index": row.index, **body}) + b"\n"

    def _of(self, key: tuple[UUID, bytes]) -> Subject:
        subject = self._known.get(key[0])
        if subject is None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            subject = self._known[key[0]] = subjects.unwrapped(key)
        return subject
