"""The only place for Merkle trees (RFC 6962, section 2.1): bytes in, verdict out. No Django.

A hash is 32 bytes. A tree of `size` leaves is known by its frontier: the roots of the perfect
subtrees that its leaves split into, largest first, one for each 1 in the binary form of `size`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

# The root of the leaves from `start` up to and without `end`.
RangeRoot = Callable[[int, int], bytes]

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that can grow: O(log n) memory, one or two hashes a leaf on average."""

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        self.size = size
        self.roots = list(roots)
        if (
            size < 0
            or len(self.roots) != size.bit_count()
            or any(len(root) != 32 for root in self.roots)
        ):
            raise ValueError(
                f"a tree of {size} leaves has {size.bit_count()} perfect subtrees of 32 bytes each"
            )

    def append(self, leaf: bytes) -> None:
        """Add one leaf's hash (32 bytes)."""
        node, completed = leaf, self.size
        while completed & 1:
            node = node_hash(self.roots.pop(), node)
            completed >>= 1
        self.roots.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The tree's root: 32 bytes."""
        if not self.roots:
            return EMPTY_ROOT
        *rest, node = self.roots
        for left in reversed(rest):
            node = node_hash(left, node)
        return node


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over these leaf hashes, in constant memory."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def ranges_of(leaves: Sequence[bytes]) -> RangeRoot:
    """The range roots of leaf hashes that are all at hand."""
    return lambda start, end: root_of(leaves[start:end])


def prove_inclusion(index: int, size: int, root: RangeRoot) -> list[bytes]:
    """The path from leaf `index` to the root of `size` leaves (RFC 6962, 2.1.1), leaf's side first.

    Raises ValueError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(root(middle, end))
            end = middle
        else:
            path.append(root(start, middle))
            start = middle
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether `path` shows that the hash `leaf` is at `index` under `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, position, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and node == root


def prove_consistency(old: int, new: int, root: RangeRoot) -> list[bytes]:
    """The proof that the tree of `new` leaves continues the tree of `old` (RFC 6962, 2.1.2).

    Raises ValueError unless 0 < old <= new.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {new} does not continue a tree of {old}")
    start, end, whole, path = 0, new, True, []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(root(middle, end))
            end = middle
        else:
            path.append(root(start, middle))
            start, whole = middle, False
    if not whole:
        path.append(root(start, end))
    return path[::-1]


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether `path` shows that `new_root` continues `old_root` (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    steps = list(path) if old & (old - 1) else [old_root, *path]
    return bool(steps) and _continues(old - 1, new - 1, old_root, new_root, steps)


def _continues(
    position: int, last: int, old_root: bytes, new_root: bytes, steps: list[bytes]
) -> bool:
    while position & 1:
        position, last = position >> 1, last >> 1
    old_node = new_node = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old_node == old_root and new_node == new_root


def _split(size: int) -> int:
    """The largest power of two below `size` (size > 1)."""
    return 1 << ((size - 1).bit_length() - 1)
