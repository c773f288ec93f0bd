"""The only place that asks whether the hashes add up: tiles, root, proofs, older checkpoints.

Leaf hashes come from the entries, or, before the first that is shipped and where entries were
tampered with, from the tiles of level 0. Every full tile's root must stand in the level above.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from audit import base64_text, tiles
from audit.proofs import EMPTY_ROOT, Frontier, RangeRoot
from audit.tiles import HASH_BYTES, HEIGHT, TILE_BYTES, WIDTH, Tile
from audit.verify.report import Findings


class Tree:
    """The tiles in `folder` of a tree of `size` leaves: read, compared, and made into a root."""

    def __init__(self, folder: Path, size: int, findings: Findings) -> None:
        self.size = size
        self.tiles = -(-size // WIDTH)
        """How many tiles level 0 has."""
        self._folder = folder
        self._findings = findings
        # The hashes that the next level must have, one of 32 bytes for each full tile.
        self._above = bytearray()
        self._ends: list[bytes] = []

    def read(self, level: int, index: int, width: int) -> bytes:
        """The bytes of a tile; b"" where the file is absent or of another length."""
        path = self._folder / Tile(level, index, width).path
        if path.is_file() and path.stat().st_size == width * HASH_BYTES:
            return path.read_bytes()
        return b""

    def leaves(self, index: int) -> bytes:
        """The hashes in the tile `index` of level 0; b"" if it is missing, which is a finding."""
        width = min(WIDTH, self.size - index * WIDTH)
        if width <= 0:
            return b""
        found = self.read(0, index, width)
        if not found:
            self._missing(0, index, width)
        return found

    def add(self, hashes: bytes) -> None:
        """Grow the bottom of the tree by the hashes of the next tile of level 0."""
        if len(hashes) == TILE_BYTES:
            self._above += root_of_tile(hashes)
        elif hashes:
            self._ends = [hashes]

    def finish(self) -> bytes:
        """Compare the levels above with what is below them; the root of it all."""
        level, hashes = 1, bytes(self._above)
        ends = self._ends or [b""]
        while self.size >> HEIGHT * level:
            hashes, end = self._climb(level, hashes)
            ends.append(end)
            level += 1
        roots = [root for end in reversed(ends) for root in _frontier(end)]
        try:
            return Frontier(self.size, roots).root()
        except ValueError:
            return b""

    def _climb(self, level: int, hashes: bytes) -> tuple[bytes, bytes]:
        """Compare one level with `hashes`; the roots of its full tiles, and its partial tile."""
        above = bytearray()
        for tile in tiles.row_of(level, self.size):
            start = tile.index * TILE_BYTES
            computed = hashes[start : start + tile.width * HASH_BYTES]
            self._compare(tile, computed)
            if tile.width < WIDTH:
                return bytes(above), computed
            if len(computed) == TILE_BYTES:
                above += root_of_tile(computed)
        return bytes(above), b""

    def _compare(self, tile: Tile, computed: bytes) -> None:
        stored = self.read(tile.level, tile.index, tile.width)
        if not stored:
            self._missing(tile.level, tile.index, tile.width)
        elif stored != computed:
            at = next(
                at for at in range(tile.width)
                if stored[at * HASH_BYTES : (at + 1) * HASH_BYTES]
                != computed[at * HASH_BYTES : (at + 1) * HASH_BYTES]
            )  # fmt: skip
            first = tile.index * WIDTH + at << HEIGHT * tile.level
            last = first + (1 << HEIGHT * tile.level) - 1
            text = f"{tile.path} has another hash over the entries {first} to {last} than these."
            self._findings.add("tile_changed", text)

    def _missing(self, level: int, index: int, width: int) -> None:
        path = Tile(level, index, width).path
        self._findings.add("tile_missing", f"There is no {path} with {width} hashes.")

    def roots(self) -> RangeRoot:
        """The range roots out of the tiles. It raises ValueError where one is missing."""
        return tiles.range_root(self.size, self.read)

    def root_at(self, size: int) -> bytes | None:
        """The root that this tree had when it was `size` leaves; None if the tiles don't tell."""
        if size == 0:
            return EMPTY_ROOT
        try:
            return self.roots()(0, size)
        except ValueError:
            return None


def root_of_tile(hashes: bytes) -> bytes:
    """The root over the 256 hashes of a full tile (RFC 6962, 2.1), as fast as Python can."""
    row = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    while len(row) > 1:
        row = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]


def _frontier(hashes: bytes) -> list[bytes]:
    frontier = Frontier()
    for at in range(0, len(hashes), HASH_BYTES):
        frontier.append(hashes[at : at + HASH_BYTES])
    return frontier.roots


def read_path(lines: list[str]) -> list[bytes]:
    """The hashes of a proof, base64, one a line. Raises ValueError."""
    return [base64_text.decode_hash(line) for line in lines]
