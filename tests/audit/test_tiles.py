"""The only place that tests tlog-tiles."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import proofs, tiles
from audit.proofs import Frontier
from audit.tiles import ENTRIES, Filled, Tile, Tiling

SIZE = 600
LEAVES = [proofs.leaf_hash(number.to_bytes(2)) for number in range(SIZE)]
ROOTS = [proofs.root_of(LEAVES[:size]) for size in range(SIZE + 1)]
MILLION = 1 << 20
CHANCE = random.Random(6962)


class Stored:
    """All tiles of one big tree, as a store would give them; it counts what is read."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.tiling = Tiling()
        self.filled = self.tiling.extend(leaves)
        self._tiles = {(full.level, full.index): full.hashes for full in self.filled}
        for tile, hashes in self.tiling.partial_tiles():
            self._tiles[tile.level, tile.index] = hashes
        self.reads: list[Tile] = []

    def read(self, level: int, index: int, width: int) -> bytes:
        self.reads.append(Tile(level, index, width))
        return self._tiles[level, index][: 32 * width]


def _by_definition(leaves: list[bytes]) -> dict[str, bytes]:
    """Path and bytes of each tile, by the formula of C2SP tlog-tiles."""
    found, level, nodes = {}, 0, leaves
    while nodes:
        for start in range(0, len(nodes), 256):
            part = nodes[start : start + 256]
            suffix = "" if len(part) == 256 else f".p/{len(part)}"
            found[f"tile/{level}/{start // 256:03}{suffix}"] = b"".join(part)
        span = 256 ** (level + 1)
        nodes = [
            proofs.root_of(leaves[at : at + span]) for at in range(0, len(leaves) - span + 1, span)
        ]
        level += 1
    return found


def _paths(full: list[Filled], tiling: Tiling) -> dict[str, bytes]:
    found = {Tile(tile.level, tile.index).path: tile.hashes for tile in full}
    return found | {tile.path: hashes for tile, hashes in tiling.partial_tiles()}


@pytest.fixture(scope="module")
def small() -> Stored:
    return Stored(LEAVES)


@pytest.fixture(scope="module")
def million() -> Stored:
    """2^20 leaves: the hashes need not be hashes of anything."""
    return Stored([number.to_bytes(32) for number in range(MILLION)])


# Paths


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(4, 1234067), "tile/4/x001/x234/067"),
        (Tile(4, 1234067, 1), "tile/4/x001/x234/067.p/1"),
        (Tile(1, 1000, 255), "tile/1/x001/000.p/255"),
        (Tile(63, 999_999), "tile/63/x999/999"),
        (Tile(ENTRIES, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_a_path_is_that_of_the_specification_and_is_read_back(tile: Tile, path: str):
    assert tile.path == path
    assert tiles.parse(path) == tile


@given(st.integers(ENTRIES, 63), st.integers(0, 10**18 - 1), st.integers(1, 256))
def test_every_path_is_read_back(level: int, index: int, width: int):
    tile = Tile(level, index, width)
    assert tiles.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/300",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/\u0660\u0660\u0660",
        "tile/entries/../000",
        "tile/0/" + "x999/" * 6 + "999",
    ],
)
def test_a_tile_has_one_path_only(path: str):
    with pytest.raises(ValueError, match="tile"):
        tiles.parse(path)


@given(st.text("tileDnr/sx.p0123456789", max_size=30))
def test_what_is_no_path_is_refused_and_nothing_worse(path: str):
    with contextlib.suppress(ValueError):
        assert tiles.parse(path).path == path


# Which tiles there are


@pytest.mark.parametrize(
    ("size", "full", "partial"),
    [
        (0, [], []),
        (1, [], ["tile/0/000.p/1"]),
        (256, [1], ["tile/1/000.p/1"]),
        (70_000, [273, 1], ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]),
    ],
)
def test_a_tree_has_the_tiles_of_the_specification(size: int, full: list[int], partial: list[str]):
    all_ = list(tiles.tiles_of(size))
    counts = [sum(tile.level == level and tile.width == 256 for tile in all_) for level in (0, 1)]
    assert counts[: len(full)] == full
    assert [tile.path for tile in all_ if tile.width < 256] == partial
    assert [tile.path for tile in tiles.partial_of(size)] == partial


def test_entry_bundles_stand_beside_the_tiles_of_level_0():
    assert [tile.path for tile in tiles.row_of(ENTRIES, 600)] == [
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ]


# Trees that grow


def test_every_size_has_the_tiles_of_the_definition():
    tiling, full = Tiling(), []
    for size in range(SIZE + 1):
        made = _paths(full, tiling)
        assert made == _by_definition(LEAVES[:size])
        assert sorted(made) == sorted(tile.path for tile in tiles.tiles_of(size))
        assert tiling.frontier().root() == ROOTS[size]
        full += tiling.extend(LEAVES[size : size + 1])


def test_a_large_tree_has_the_tiles_of_the_definition():
    leaves = [number.to_bytes(32) for number in range(70_000)]
    stored = Stored(leaves)
    assert _paths(stored.filled, stored.tiling) == _by_definition(leaves)
    for tile in stored.filled:
        parts = [tile.hashes[at : at + 32] for at in range(0, 8192, 32)]
        assert proofs.root_of(parts) == tile.root


@given(st.lists(st.integers(0, 300), max_size=8), st.booleans())
def test_however_a_tree_is_cut_into_batches_its_tiles_are_the_same(cuts: list[int], kept: bool):
    leaves = (LEAVES * 4)[: sum(cuts)]
    at_once = Tiling()
    expected = _paths(at_once.extend(leaves), at_once)
    tiling, full = Tiling(), []
    for cut in cuts:
        if not kept:
            tiling = _resumed(tiling)
        full += tiling.extend(leaves[tiling.size : tiling.size + cut])
    assert _paths(full, tiling) == expected
    assert tiling.frontier().roots == at_once.frontier().roots


def _resumed(before: Tiling) -> Tiling:
    """The same tree, of what would be stored of it: the frontier and its partial tiles."""
    partial = {(tile.level, tile.index, tile.width): data for tile, data in before.partial_tiles()}
    return Tiling(before.frontier(), lambda *tile: partial[tile])


def test_nothing_is_read_until_a_tile_becomes_full(million: Stored):
    size = 3 * 65_536 + 255 * 256 + 200
    tree = Frontier(size, _perfect_subtrees(million, size))
    million.reads.clear()
    tiling = Tiling(tree, million.read)
    assert tiling.extend(LEAVES[:55]) == []
    assert million.reads == []
    filled = tiling.extend(LEAVES[55:60])
    assert [(tile.level, tile.index) for tile in filled] == [(0, 1023), (1, 3)]
    assert million.reads == [Tile(0, 1023, 200), Tile(1, 3, 255)]


def _perfect_subtrees(stored: Stored, size: int) -> list[bytes]:
    root, roots, start = tiles.range_root(size, stored.read), [], 0
    for height in reversed(range(size.bit_length())):
        if size >> height & 1:
            roots.append(root(start, start + (1 << height)))
            start += 1 << height
    return roots


def test_stored_hashes_that_are_not_the_trees_are_refused():
    tree = Tiling()
    tree.extend(LEAVES[:250])
    (_, right), *_ = tree.partial_tiles()
    for wrong in (right[32:] + right[:32], bytes(len(right)), right[:-32], right[:-1], b""):
        with pytest.raises(ValueError, match="tile/0/000"):
            Tiling(tree.frontier(), lambda *_, wrong=wrong: wrong).extend(LEAVES[250:256])
    with pytest.raises(ValueError, match="nothing is known"):
        Tiling(tree.frontier()).extend(LEAVES[250:256])


def test_a_batch_costs_one_hash_a_leaf_and_little_more(monkeypatch: pytest.MonkeyPatch):
    tiling = Tiling()
    tiling.extend(LEAVES[:500])
    resumed = _resumed(tiling)
    hashes = []
    monkeypatch.setattr(tiles, "node_hash", lambda *pair: hashes.append(pair) or LEAVES[0])
    monkeypatch.setattr(Tiling, "_read_back", lambda self, *tile: self._read(*tile))
    resumed.extend((LEAVES * 4)[:2000])
    assert len(hashes) <= 2000 + 20


# Proofs


def test_every_proof_of_every_size_is_made_from_the_tiles(small: Stored):
    for size in range(1, SIZE + 1):
        root = tiles.range_root(size, small.read)
        assert root(0, size) == ROOTS[size]
        for index in range(size % 7, size, 1 if size <= 260 else 11):
            path = proofs.prove_inclusion(index, size, root)
            assert proofs.verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])
        for old in range(1 + size % 7, size + 1, 1 if size <= 260 else 11):
            path = proofs.prove_consistency(old, size, root)
            assert proofs.verify_consistency(old, size, ROOTS[old], ROOTS[size], path)


def test_any_range_has_its_root():
    root = tiles.range_root(SIZE, Stored(LEAVES).read)
    for _ in range(300):
        start, end = sorted(CHANCE.sample(range(SIZE + 1), 2))
        assert root(start, end) == proofs.root_of(LEAVES[start:end])


@pytest.mark.parametrize(("start", "end"), [(0, 601), (-1, 5), (5, 5), (6, 5), (600, 601)])
def test_beyond_the_tree_there_is_nothing(small: Stored, start: int, end: int):
    with pytest.raises(ValueError, match="no leaves"):
        tiles.range_root(SIZE, small.read)(start, end)


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(8192 + 32)])
def test_a_tile_of_another_width_is_refused(wrong: bytes):
    with pytest.raises(ValueError, match=r"tile/1/000\.p/2 does not hold 2 hashes"):
        tiles.range_root(SIZE, lambda *_: wrong)(0, 512)


def _mutants(path: list[bytes], bits: range) -> list[list[bytes]]:
    changed = []
    for step, node in enumerate(path):
        for bit in bits:
            other = (int.from_bytes(node) ^ (1 << bit)).to_bytes(32)
            changed.append([*path[:step], other, *path[step + 1 :]])
    return changed


@pytest.mark.parametrize("size", [2, 255, 256, 257, 600])
def test_no_bit_of_a_proof_can_be_changed(small: Stored, size: int):
    root = tiles.range_root(size, small.read)
    index = CHANCE.randrange(1, size)
    path = proofs.prove_inclusion(index, size, root)
    for changed in _mutants(path, range(256)):
        assert not proofs.verify_inclusion(LEAVES[index], index, size, changed, ROOTS[size])
    path = proofs.prove_consistency(index, size, root)
    for changed in _mutants(path, range(256)):
        assert not proofs.verify_consistency(index, size, ROOTS[index], ROOTS[size], changed)


def test_one_bit_of_each_step_fails_the_proofs_of_all_sizes(small: Stored):
    for size in range(2, SIZE + 1):
        root = tiles.range_root(size, small.read)
        index, bit = CHANCE.randrange(1, size), CHANCE.randrange(256)
        for changed in _mutants(proofs.prove_inclusion(index, size, root), range(bit, bit + 1)):
            assert not proofs.verify_inclusion(LEAVES[index], index, size, changed, ROOTS[size])
        for changed in _mutants(proofs.prove_consistency(index, size, root), range(bit, bit + 1)):
            assert not proofs.verify_consistency(index, size, ROOTS[index], ROOTS[size], changed)


def test_a_million_leaves_need_two_tiles_a_level_at_most(million: Stored):
    whole = tiles.range_root(MILLION, million.read)
    assert whole(0, MILLION) == million.tiling.frontier().root()
    for _ in range(12):
        size = CHANCE.randrange(1, MILLION)
        index, old = CHANCE.randrange(size), CHANCE.randrange(1, size + 1)
        million.reads.clear()
        root = tiles.range_root(size, million.read)
        path = proofs.prove_inclusion(index, size, root)
        assert len(million.reads) <= 6
        assert len(million.reads) == len(set(million.reads))
        leaf = index.to_bytes(32)
        assert proofs.verify_inclusion(leaf, index, size, path, root(0, size))
        assert proofs.verify_consistency(
            old,
            size,
            tiles.range_root(old, million.read)(0, old),
            root(0, size),
            proofs.prove_consistency(old, size, root),
        )
        assert proofs.verify_consistency(
            size,
            MILLION,
            root(0, size),
            whole(0, MILLION),
            proofs.prove_consistency(size, MILLION, whole),
        )


# Entry bundles


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_entries_are_read_back_from_their_bundle(entries: list[bytes]):
    bundle = tiles.encode_entries(entries)
    assert tiles.decode_entries(bundle, len(entries)) == entries


def test_an_entry_stands_behind_its_length_big_endian():
    assert tiles.encode_entries([b"a" * 258, b""]) == b"\x01\x02" + b"a" * 258 + b"\0\0"


def test_the_largest_entry_fits_and_a_larger_one_is_refused():
    assert tiles.decode_entries(tiles.encode_entries([bytes(65_535)]), 1) == [bytes(65_535)]
    with pytest.raises(ValueError, match="65536 bytes"):
        tiles.encode_entries([bytes(65_536)])


@pytest.mark.parametrize("cut", [slice(0, -1), slice(0, -3), slice(1, None), slice(0, 1)])
def test_a_bundle_that_is_cut_is_refused(cut: slice):
    with pytest.raises(ValueError, match="2 whole entries"):
        tiles.decode_entries(tiles.encode_entries([b"one", b""])[cut], 2)


def test_a_bundle_of_more_or_fewer_entries_is_refused():
    bundle = tiles.encode_entries([b"one", b"two"])
    for width in (0, 1, 3):
        with pytest.raises(ValueError, match="whole entries"):
            tiles.decode_entries(bundle, width)
