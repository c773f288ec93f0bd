"""The only place that finds which entries were touched, once entries and leaves disagree.

The leaves (level 0 of the tiles) are the measure here; whether they are the signed ones is the
root's question. Only hashes are kept; the few entries that are named are read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from audit.proofs import leaf_hash
from audit.tiles import HASH_BYTES, WIDTH
from audit.verify import headers
from audit.verify.reading import lines_of
from audit.verify.report import MAX_FINDINGS, Findings
from audit.verify.tree import Tree


class Touched(NamedTuple):
    """One entry: what was done, its index in the log, its line (from 0; -1 if it has none)."""

    code: str
    place: int
    line: int
    what: str


def check(path: Path, tree: Tree, first: int, findings: Findings) -> None:
    """Name the entries of the file at `path` that are not the leaves of `tree` from `first` on."""
    lines = [leaf_hash(line) for line in lines_of(path)]
    leaves = _leaves(tree, first)
    # Of a tile that is missing nothing is known: its entries are taken as they stand.
    for place in range(min(len(leaves), len(lines))):
        leaves[place] = leaves[place] or lines[place]
    touched = sorted(_touched(lines, leaves, first), key=lambda each: each.place)
    named = _names(path, {each.line for each in touched})
    for each in touched:
        id_, kind = named.get(each.line, ("", ""))
        findings.at(each.code, each.place, id_, kind, each.what)


def _leaves(tree: Tree, first: int) -> list[bytes]:
    """The leaves' hashes; b"" where the tile is missing."""
    leaves = []
    for number in range(first // WIDTH, tree.tiles):
        width = min(WIDTH, tree.size - number * WIDTH)
        hashes = tree.read(0, number, width)
        leaves += [hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(width)]
    return leaves[first % WIDTH :]


def _touched(lines: list[bytes], leaves: Sequence[bytes], first: int) -> Iterator[Touched]:
    place_of = {leaf: place for place, leaf in enumerate(leaves)}
    missing = place_of.keys() - set(lines)
    for place, made in enumerate(lines):
        if made in place_of:
            continue
        if place < len(leaves) and leaves[place] in missing:
            missing.discard(leaves[place])
            what = "was changed: its bytes do not have the hash of its leaf"
            yield Touched("entry_changed", first + place, place, what)
        else:
            what = "has no leaf: it was inserted or changed"
            yield Touched("entry_inserted", first + place, place, what)
    for leaf in missing:
        what = "is missing: no line has the hash of its leaf"
        yield Touched("entry_missing", first + place_of[leaf], -1, what)
    yield from _out_of_place(lines, place_of, first)


def _out_of_place(
    lines: Sequence[bytes], place_of: dict[bytes, int], first: int
) -> Iterator[Touched]:
    """Known entries that stand twice, or behind a later one."""
    seen: set[bytes] = set()
    furthest = -1
    for place, made in enumerate(lines):
        at = place_of.get(made)
        if at is None:
            continue
        if made in seen:
            what = f"stands twice; the second time at line {place + 1}"
            yield Touched("entry_duplicated", first + at, place, what)
        elif at < furthest:
            what = f"was moved to line {place + 1}, behind the entry at index {first + furthest}"
            yield Touched("entry_moved", first + at, place, what)
        seen.add(made)
        furthest = max(furthest, at)


def _names(path: Path, wanted: set[int]) -> dict[int, tuple[str, str]]:
    """The id and kind that these lines still show."""
    few = set(islice(sorted(wanted), 10 * MAX_FINDINGS))
    return {
        place: headers.shown(line)[:2] for place, line in enumerate(lines_of(path)) if place in few
    }
