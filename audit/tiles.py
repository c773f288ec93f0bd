"""The only place for tlog-tiles: a tree's hashes in files of 256 (C2SP tlog-tiles). No Django.

The tile of level L and index N holds up to 256 consecutive hashes of 32 bytes: those of the perfect
subtrees of 256**L leaves, from the one numbered N * 256. So a hash of level L + 1 is the root of a
full tile of level L. A full tile never changes; the last one of a level is *partial*, and belongs
to trees of one size only.

Non-goal: nothing is stored here. Tiles come through a `ReadTile`, and go out as values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from audit.proofs import Frontier, RangeRoot, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH_BYTES = 32
TILE_BYTES = WIDTH * HASH_BYTES
MAX_LEVEL = 63
MAX_ENTRY_BYTES = 0xFFFF

# The level of entry bundles: they hold the entries that the tiles of level 0 hold the hashes of.
ENTRIES = -1

PATH = re.compile(
    r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII
)

# The bytes of the tile at (level, index) with this width: `width` hashes.
ReadTile = Callable[[int, int, int], bytes]


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile (or, at level ENTRIES, an entry bundle) is. Raises ValueError if nowhere."""

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if not ENTRIES <= self.level <= MAX_LEVEL or self.index < 0 or not 0 < self.width <= WIDTH:
            raise ValueError(f"there is no tile {self.level}/{self.index} of width {self.width}")

    @property
    def path(self) -> str:
        """`tile/<L>/<N>[.p/<W>]`, N in groups of three digits: 1234067 is x001/x234/067."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        rest, last = divmod(self.index, 1000)
        groups = f"{last:03}"
        while rest:
            rest, group = divmod(rest, 1000)
            groups = f"x{group:03}/{groups}"
        return f"tile/{level}/{groups}" + ("" if self.width == WIDTH else f".p/{self.width}")


@dataclass(frozen=True, slots=True)
class Filled:
    """A tile that became full: its 256 hashes (8,192 bytes) and their root (32 bytes)."""

    level: int
    index: int
    hashes: bytes
    root: bytes


def parse(path: str) -> Tile:
    """The tile of this path, which has one way to be written. Raises ValueError."""
    match = PATH.fullmatch(path)
    if match:
        level, groups, width = match.groups()
        number = int(groups.replace("x", "").replace("/", ""))
        tile = Tile(ENTRIES if level == "entries" else int(level), number, int(width or WIDTH))
        if tile.path == path:
            return tile
    raise ValueError(f"{path!r} is not the path of a tile")


def row_of(level: int, size: int) -> Iterator[Tile]:
    """The tiles of one level (ENTRIES too) for a tree of `size` leaves, the partial one last."""
    full, partial = divmod(size >> HEIGHT * max(level, 0), WIDTH)
    yield from (Tile(level, index) for index in range(full))
    if partial:
        yield Tile(level, full, partial)


def tiles_of(size: int) -> Iterator[Tile]:
    """All hash tiles that a tree of `size` leaves has, from level 0 upwards; none for 0."""
    level = 0
    while size >> HEIGHT * level:
        yield from row_of(level, size)
        level += 1


def partial_of(size: int) -> Iterator[Tile]:
    """Those tiles of a tree of `size` leaves that are partial: at most one a level."""
    level = 0
    while hashes := size >> HEIGHT * level:
        if hashes % WIDTH:
            yield Tile(level, hashes // WIDTH, hashes % WIDTH)
        level += 1


def encode_entries(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry behind its length in two bytes, big-endian.

    Raises ValueError for an entry over 65,535 bytes.
    """
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(f"an entry of {len(entry)} bytes is over {MAX_ENTRY_BYTES}")
        parts += [len(entry).to_bytes(2), entry]
    return b"".join(parts)


def decode_entries(bundle: bytes, width: int) -> list[bytes]:
    """The `width` entries of an entry bundle. Raises ValueError unless it holds just these."""
    entries, at = [], 0
    while at < len(bundle):
        start = at + 2
        at = start + int.from_bytes(bundle[at:start])
        entries.append(bundle[start:at])
    if at != len(bundle) or len(entries) != width:
        raise ValueError(f"the entry bundle does not hold {width} whole entries")
    return entries


def range_root(size: int, read: ReadTile) -> RangeRoot:
    """The range roots of a tree of `size` leaves from its tiles, for the proofs of audit.proofs.

    A tile is read when it is first needed, and once: a proof takes O(log size) of them. What was
    read stays as long as the function does. It raises ValueError beyond the tree, and when `read`
    gives another number of hashes than it was asked for.
    """

    @cache
    def hashes_of(level: int, index: int) -> bytes:
        return _read(read, level, index, min(WIDTH, (size >> HEIGHT * level) - index * WIDTH))

    @cache
    def node(height: int, number: int) -> bytes:
        level, above = divmod(height, HEIGHT)
        if above:
            return node_hash(node(height - 1, number * 2), node(height - 1, number * 2 + 1))
        at = number % WIDTH * HASH_BYTES
        return hashes_of(level, number // WIDTH)[at : at + HASH_BYTES]

    @cache
    def root(start: int, end: int) -> bytes:
        length = end - start
        if not 0 <= start < end <= size:
            raise ValueError(f"there are no leaves {start} to {end} in a tree of {size}")
        height = (length - 1).bit_length()
        if length == 1 << height and start % length == 0:
            return node(height, start >> height)
        middle = start + (1 << height - 1)
        return node_hash(root(start, middle), root(middle, end))

    return root


class Tiling:
    """A tree that grows tile by tile: about one hash a leaf, and nothing read that is not needed.

    It continues any tree whose frontier is known. The hashes that stand in the tree's partial tiles
    already are read only when such a tile becomes full (at level 0 once in 256 leaves, at level 1
    once in 65,536), and must be those that the frontier was made of.

    MUST be dropped when `read` or that check raised: it may have grown in part.
    """

    def __init__(self, tree: Frontier | None = None, read: ReadTile | None = None) -> None:
        """`read` is asked for partial tiles of `tree` alone: an empty one needs none."""
        tree = tree or Frontier()
        heights = [height for height in range(tree.size.bit_length()) if tree.size >> height & 1]
        self.size = tree.size
        self._roots = dict(zip(reversed(heights), tree.roots, strict=True))
        self._rows: list[_Row] = []
        self._read = read or _nothing
        self._began_at, self._began_with = tree.size, dict(self._roots)

    def extend(self, leaves: Sequence[bytes]) -> list[Filled]:
        """Add these leaves' hashes (32 bytes each); the tiles that became full, level by level.

        Raises ValueError when the hashes that were read are not those of the tree.
        """
        self.size += len(leaves)
        filled: list[Filled] = []
        level, hashes = 0, list(leaves)
        while hashes:
            tiles = self._row(level).add(hashes)
            hashes = _climb(level, hashes, self._roots)
            filled += [
                Filled(level, index, tile, root)
                for (index, tile), root in zip(tiles, hashes, strict=True)
            ]
            level += 1
        return filled

    def frontier(self) -> Frontier:
        """The tree as it is now: all that must be kept, beside the tiles, to go on from here."""
        return Frontier(self.size, [self._roots[height] for height in sorted(self._roots)[::-1]])

    def partial_tiles(self) -> list[tuple[Tile, bytes]]:
        """The partial tiles of the tree as it is now, with their hashes, from level 0 upwards."""
        return [(tile, self._row(tile.level).partial()) for tile in partial_of(self.size)]

    def _row(self, level: int) -> _Row:
        while len(self._rows) <= level:
            above = len(self._rows)
            self._rows.append(_Row(above, self._began_at >> HEIGHT * above, self._read_back))
        return self._rows[level]

    def _read_back(self, level: int, index: int, width: int) -> bytes:
        hashes, roots = _read(self._read, level, index, width), dict[int, bytes]()
        _climb(level, _split(hashes), roots)
        if roots != {at: root for at, root in self._began_with.items() if at // HEIGHT == level}:
            raise ValueError(f"{Tile(level, index, width).path} does not belong to the tree")
        return hashes


class _Row:
    """The partial tile of one level: hashes that are stored elsewhere, then those that came."""

    def __init__(self, level: int, hashes: int, read: ReadTile) -> None:
        self._level = level
        self._index, self._stored = divmod(hashes, WIDTH)
        self._came = b""
        self._read = read

    def add(self, hashes: list[bytes]) -> list[tuple[int, bytes]]:
        """The index and the bytes of each tile that became full."""
        self._came += b"".join(hashes)
        full = (self._stored + len(self._came) // HASH_BYTES) // WIDTH
        if not full:
            return []
        first, whole = self._index, self.partial()
        self._index, self._came = first + full, whole[full * TILE_BYTES :]
        return [(first + at, whole[at * TILE_BYTES : (at + 1) * TILE_BYTES]) for at in range(full)]

    def partial(self) -> bytes:
        """The tile's hashes, those that are stored elsewhere included."""
        if self._stored:
            self._came = self._read(self._level, self._index, self._stored) + self._came
            self._stored = 0
        return self._came


def _climb(level: int, hashes: list[bytes], roots: dict[int, bytes]) -> list[bytes]:
    """Hash new nodes of `level` up to those of the next: the roots of tiles that became full.

    `roots` are the tree's perfect subtrees by height: the left siblings that wait, and are used up;
    the nodes that now wait for a right one.
    """
    for height in range(level * HEIGHT, (level + 1) * HEIGHT):
        if height in roots:
            hashes = [roots.pop(height), *hashes]
        if len(hashes) % 2:
            *hashes, roots[height] = hashes
        hashes = list(map(node_hash, hashes[::2], hashes[1::2]))
    return hashes


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def _read(read: ReadTile, level: int, index: int, width: int) -> bytes:
    hashes = read(level, index, width)
    if len(hashes) != width * HASH_BYTES:
        raise ValueError(f"{Tile(level, index, width).path} does not hold {width} hashes")
    return hashes


def _nothing(level: int, index: int, width: int) -> bytes:
    raise ValueError(f"nothing is known of {Tile(level, index, width).path}")
