"""The only place that reads a log's tiles from its tables. No Django: it runs on any cursor."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from audit.roles import Cursor
from audit.tiles import WIDTH, ReadTile

FULL = "SELECT hashes FROM audit.tile WHERE log_id = %s AND level = %s AND index = %s"
# The hashes of a partial tile stand nowhere else than where they came from: in leaves, or as the
# roots of the full tiles below.
OF_LEAVES = """
SELECT string_agg(leaf_hash, ''::bytea ORDER BY index) FROM audit.leaf
WHERE log_id = %s AND index >= %s AND index < %s
"""
OF_ROOTS = """
SELECT string_agg(root, ''::bytea ORDER BY index) FROM audit.tile
WHERE log_id = %s AND level = %s AND index >= %s AND index < %s
"""


def reader(cursor: Cursor, log: UUID) -> ReadTile:
    """Reads hash tiles of `log` as far as it is sealed; fewer hashes where there are fewer."""

    def read(level: int, index: int, width: int) -> bytes:
        first = index * WIDTH
        if width == WIDTH:
            return _one(cursor, FULL, [log, level, index])
        if level == 0:
            return _one(cursor, OF_LEAVES, [log, first, first + width])
        return _one(cursor, OF_ROOTS, [log, level - 1, first, first + width])

    return read


def _one(cursor: Cursor, query: str, parameters: list[Any]) -> bytes:
    cursor.execute(query, parameters)
    row = cursor.fetchone()
    return bytes(row[0]) if row and row[0] is not None else b""
