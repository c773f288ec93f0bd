"""The only place that tests the tree as it is stored: tiles, heads, and the proofs they give."""

from __future__ import annotations

import hashlib
import random
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from own_logs import KEY, NoteTaken, OwnLog, act_as, publish

from audit import proofs, queries, roles, sequencer, stored_tiles, tiles
from audit.entries import draft, recording
from audit.events import SYSTEM
from audit.guard import Guard
from audit.proofs import Frontier
from audit.tiles import WIDTH, Filled, Tiling

TILES = "SELECT level, index, hashes, root FROM audit.tile ORDER BY level, index"
LEAVES = "SELECT leaf_hash FROM audit.leaf ORDER BY index"
HEADS = "SELECT size, root, frontier FROM audit.tree_head ORDER BY size"


def _rows(query: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def _record(count: int) -> None:
    drafts = [draft(NoteTaken(note="n", number=n), actor=SYSTEM) for n in range(count)]
    with connection.cursor() as cursor:
        cursor.execute(*recording(drafts))


def _leaves() -> list[bytes]:
    return [bytes(made) for (made,) in _rows(LEAVES)]


def _filled(rows: list[tuple]) -> list[Filled]:
    return [Filled(level, at, bytes(hashes), bytes(root)) for level, at, hashes, root in rows]


def _assert_stored(size: int) -> None:
    """Tiles and tree heads are those of the leaves, in one go, in memory."""
    leaves = _leaves()
    assert len(leaves) == size
    assert _filled(_rows(TILES)) == Tiling().extend(leaves)
    frontier = Frontier()
    for head_size, root, kept in _rows(HEADS):
        for leaf in leaves[frontier.size : head_size]:
            frontier.append(leaf)
        assert (bytes(root), [bytes(each) for each in kept]) == (frontier.root(), frontier.roots)
    assert frontier.size == size


@pytest.mark.parametrize("seed", range(4))
def test_batches_of_any_sizes_make_the_same_tiles_and_heads(own_log: OwnLog, seed: int):
    chance = random.Random(seed)
    left = size = chance.randint(600, 900)
    while left:
        count = min(left, chance.choice([1, 7, WIDTH - 1, WIDTH, WIDTH + 1, 300]))
        _record(count)
        left -= count
        while sequencer.seal(connection.connection, own_log.id, limit=chance.randint(5, 400)):
            if chance.random() < 0.3:
                break
    publish()
    _assert_stored(size)
    assert [row[:2] for row in _rows(TILES)] == [(0, index) for index in range(size // WIDTH)]


@pytest.mark.parametrize("size", [255, 256, 257, 512])
def test_a_tile_is_stored_when_it_is_full_and_not_before(own_log: OwnLog, size: int):
    _record(size)
    publish()
    _assert_stored(size)


def test_each_tile_is_read_as_the_tree_has_it(own_log: OwnLog):
    _record(600)
    publish()
    leaves = _leaves()
    with connection.cursor() as cursor:
        read = stored_tiles.reader(cursor, own_log.id)
        for size in (1, 255, 256, 257, 600):
            expected = {(t.level, t.index): t for t in tiles.tiles_of(size)}
            tiling = Tiling()
            whole = {(f.level, f.index): f.hashes for f in tiling.extend(leaves[:size])}
            whole |= {(t.level, t.index): hashes for t, hashes in tiling.partial_tiles()}
            assert {at: read(*at, tile.width) for at, tile in expected.items()} == whole
        for beyond in ((0, 2, 256), (1, 1, 3), (0, 9, 5), (7, 0, 256)):
            assert len(read(*beyond)) < beyond[2] * 32


def test_proofs_from_stored_tiles_hold(own_log: OwnLog):
    sizes = [1, 100, 256, 300, 612]
    roots: dict[int, bytes] = {}
    for before, size in zip([0, *sizes], sizes, strict=False):
        _record(size - before)
        roots[size] = publish().root
    checkpoint, leaves = queries.latest_checkpoint(), _leaves()
    root, chance = queries.range_root(checkpoint), random.Random(7)
    for index in {0, 255, 256, 511, 512, 611, *chance.sample(range(612), 40)}:
        path = proofs.prove_inclusion(index, 612, root)
        assert proofs.verify_inclusion(leaves[index], index, 612, path, roots[612])
        assert not proofs.verify_inclusion(leaves[index], index ^ 1, 612, path, roots[612])
    for old in sizes:
        path = queries.consistency(old, 612)
        assert proofs.verify_consistency(old, 612, roots[old], roots[612], path)
    for _ in range(40):
        old, new = sorted(chance.sample(range(1, 613), 2))
        path = queries.consistency(old, new)
        ends = proofs.root_of(leaves[:old]), proofs.root_of(leaves[:new])
        assert proofs.verify_consistency(old, new, *ends, path)


def _columns(hashes: list[bytes]) -> list[list[Any]]:
    nothing: list[Any] = [None] * len(hashes)
    return [[uuid4() for _ in hashes], nothing, nothing, nothing, hashes]


def _as_if_it_had_grown(log: OwnLog, leaves: list[bytes]) -> None:
    """Store a tree over `leaves`, as the sequencer would have, without the entries."""
    tiling = Tiling()
    filled = tiling.extend(leaves)
    grown, partial = tiling.frontier(), len(leaves) // WIDTH * WIDTH
    database = connection.settings_dict["NAME"]
    with connection.cursor() as cursor, roles.acting_as(cursor, roles.sequencer_of(database)):
        hashes = leaves[partial:]
        cursor.execute(sequencer.ADD_LEAVES, [log.id, partial, *_columns(hashes)])
        columns = [(tile.level, tile.index, tile.hashes, tile.root) for tile in filled]
        cursor.execute(sequencer.ADD_TILES, [log.id, *map(list, zip(*columns, strict=True))])
        head = [log.id, grown.size, grown.root(), grown.roots]
        cursor.execute(sequencer.ADD_HEAD, head)


def test_the_tile_above_256_full_ones_is_stored_too(own_log: OwnLog):
    old = [hashlib.sha256(n.to_bytes(4)).digest() for n in range(WIDTH * WIDTH - 100)]
    _as_if_it_had_grown(own_log, old)
    _record(150)
    checkpoint = publish()
    leaves = old + _leaves()[-150:]
    assert _filled(_rows(f"{TILES} DESC LIMIT 257")[-1:]) == Tiling().extend(leaves)[-1:]
    assert (checkpoint.size, checkpoint.root) == (WIDTH * WIDTH + 50, proofs.root_of(leaves))
    stored = queries.latest_checkpoint()
    root = queries.range_root(stored)
    for index in (0, 70, WIDTH * WIDTH - 1, WIDTH * WIDTH, checkpoint.size - 1):
        path = proofs.prove_inclusion(index, stored.size, root)
        assert proofs.verify_inclusion(leaves[index], index, stored.size, path, checkpoint.root)
    path = queries.consistency(len(old), stored.size)
    assert proofs.verify_consistency(
        len(old), stored.size, proofs.root_of(old), checkpoint.root, path
    )


def test_a_tree_whose_leaves_are_not_those_of_its_head_is_not_continued(
    own_log: OwnLog, guard: Guard, caplog
):
    leaves = [hashlib.sha256(n.to_bytes(4)).digest() for n in range(WIDTH + 9)]
    _as_if_it_had_grown(own_log, leaves)
    forged = Frontier()
    for leaf in [*leaves, bytes(32)]:
        forged.append(leaf)
    database = connection.settings_dict["NAME"]
    with connection.cursor() as cursor, roles.acting_as(cursor, roles.sequencer_of(database)):
        last = _columns([b"\1" * 32])
        cursor.execute(sequencer.ADD_LEAVES, [own_log.id, len(leaves), *last])
        head = [own_log.id, forged.size, forged.root(), forged.roots]
        cursor.execute(sequencer.ADD_HEAD, head)
    _record(WIDTH)
    act_as("none")
    sequencer.run_once(connection.connection, KEY, guard=guard)
    assert "does not belong to the tree" in caplog.text
    act_as(own_log.role)
    assert queries.status().pending == WIDTH
    assert guard.last(own_log.id) is None
