"""The only place that gives out a ledger as clients of tlog-tiles follow it (C2SP tlog-tiles).

Checkpoint, hash tiles and entry bundles, as far as the newest checkpoint reaches: what is sealed
beyond it is not promised to anybody yet. An entry bundle holds headers; of what is private, their
commitments.
"""

from __future__ import annotations

import msgspec
from django.db import connection

from audit import outside, queries, stored_tiles, tiles
from audit.entries import ROW, SEALED, leaf_of_row
from audit.errors import Problem
from audit.models import Checkpoint, Entry
from audit.tiles import ENTRIES, HEIGHT, WIDTH, Tile
from audit.tlog_proof import TlogProof

# A bundle that a checkpoint covers is whole: its rows are joined, never looked for.
BUNDLE = f"""
SELECT {ROW} FROM {SEALED}
WHERE leaf.log_id = %s AND leaf.index >= %s AND leaf.index < %s
ORDER BY leaf.index
"""  # noqa: S608  (a constant of column names)


class TileUnknown(Problem):
    """The newest checkpoint has no {tile}."""

    code = "tile_unknown"
    status = 404


class Tree(msgspec.Struct, frozen=True):
    """How many entries a tree has, and its root."""

    size: int
    root: bytes


class Consistency(msgspec.Struct, frozen=True):
    """What shows that the tree `new` continues the tree `old` (RFC 6962, 2.1.2)."""

    old: Tree
    new: Tree
    path: list[bytes]


def checkpoint() -> str:
    """The newest checkpoint's note, cosignatures included. Raises NotPublished, roles.NoLedger."""
    return outside.cosigned(queries.latest_checkpoint())


def tile(path: str) -> bytes:
    """What is at `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.

    Partial tiles of smaller trees stay. Raises TileUnknown beyond the newest checkpoint, and for
    what is no tile's path; roles.NoLedger.
    """
    newest = queries.status().checkpoint
    try:
        wanted = tiles.parse(path)
    except ValueError:
        raise TileUnknown(tile=path) from None
    if newest is None or wanted.width > _width(wanted, newest):
        raise TileUnknown(tile=path)
    if wanted.level == ENTRIES:
        return _entries(wanted, newest)
    with connection.cursor() as cursor:
        read = stored_tiles.reader(cursor, newest.log_id)
        return read(wanted.level, wanted.index, wanted.width)


def proof(entry: Entry) -> str:
    """The proof that `entry` is under the newest checkpoint (C2SP tlog-proof).

    Raises NotPublished.
    """
    found = queries.inclusion(entry)
    return str(TlogProof(found.index, found.path, outside.cosigned(found.checkpoint)))


def consistency(old: int, new: int | None = None) -> Consistency:
    """The proof that the tree of `new` entries continues that of `old`, and both their roots.

    Without `new` it is the newest checkpoint's. Raises NotPublished unless 0 < old <= new <= that.
    """
    newest = queries.latest_checkpoint()
    root = queries.range_root(newest)
    until = newest.size if new is None else new
    path = queries.consistency(old, until)
    return Consistency(Tree(old, root(0, old)), Tree(until, root(0, until)), path)


def _width(wanted: Tile, newest: Checkpoint) -> int:
    """How many hashes or entries the tile has under the checkpoint: 256, fewer, or 0 or less."""
    hashes = newest.size >> HEIGHT * max(wanted.level, 0)
    return min(WIDTH, hashes - wanted.index * WIDTH)


def _entries(wanted: Tile, newest: Checkpoint) -> bytes:
    first = wanted.index * WIDTH
    with connection.cursor() as cursor:
        cursor.execute(BUNDLE, [newest.log_id, first, first + wanted.width])
        return tiles.encode_entries(map(leaf_of_row, cursor.fetchall()))
