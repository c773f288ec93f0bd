"""The only place that tests the Merkle tree and its proofs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from audit import proofs

SIZE = 130
LEAVES = [proofs.leaf_hash(bytes([number])) for number in range(SIZE)]
ROOTS = [proofs.root_of(LEAVES[:size]) for size in range(SIZE + 1)]

# The leaves and roots of the Certificate Transparency reference tests.
KNOWN = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    (
        "606162636465666768696a6b6c6d6e6f",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ),
]


def _recursive_root(leaves):
    """RFC 6962, 2.1, word by word."""
    if not leaves:
        return proofs.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return proofs.node_hash(_recursive_root(leaves[:half]), _recursive_root(leaves[half:]))


def test_the_roots_are_those_of_the_reference():
    leaves = [proofs.leaf_hash(bytes.fromhex(data)) for data, _ in KNOWN]
    for size, (_, root) in enumerate(KNOWN, start=1):
        assert proofs.root_of(leaves[:size]).hex() == root


def test_the_roots_are_those_of_the_definition_and_of_pymerkle():
    theirs = InmemoryTree(algorithm="sha256")
    for size in range(1, SIZE + 1):
        theirs.append_entry(bytes([size - 1]))
        assert ROOTS[size] == _recursive_root(LEAVES[:size]) == theirs.get_root(size)


def test_every_leaf_of_every_size_is_proven_and_no_other():
    for size in range(1, SIZE + 1):
        for index in range(size):
            path = proofs.prove_inclusion(index, size, proofs.ranges_of(LEAVES[:size]))
            assert proofs.verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])
            assert not proofs.verify_inclusion(LEAVES[index], index + 1, size, path, ROOTS[size])
            assert not proofs.verify_inclusion(proofs.EMPTY_ROOT, index, size, path, ROOTS[size])


def test_every_size_is_proven_to_continue_every_smaller_one():
    for new in range(1, SIZE + 1):
        for old in range(1, new + 1):
            path = proofs.prove_consistency(old, new, proofs.ranges_of(LEAVES[:new]))
            assert proofs.verify_consistency(old, new, ROOTS[old], ROOTS[new], path)
            assert not proofs.verify_consistency(old, new, ROOTS[old - 1], ROOTS[new], path)


@given(st.data())
def test_no_bit_of_a_proof_can_be_changed(data):
    size = data.draw(st.integers(2, SIZE))
    old = data.draw(st.integers(1, size - 1))
    for path, verdict in (
        (
            proofs.prove_inclusion(old, size, proofs.ranges_of(LEAVES[:size])),
            lambda path: proofs.verify_inclusion(LEAVES[old], old, size, path, ROOTS[size]),
        ),
        (
            proofs.prove_consistency(old, size, proofs.ranges_of(LEAVES[:size])),
            lambda path: proofs.verify_consistency(old, size, ROOTS[old], ROOTS[size], path),
        ),
    ):
        step, bit = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(0, 255))
        changed = (int.from_bytes(path[step]) ^ (1 << bit)).to_bytes(32)
        assert verdict(path)
        assert not verdict([*path[:step], changed, *path[step + 1 :]])
        assert not verdict([*path[:step], *path[step + 1 :]])
        assert not verdict([*path, changed])


@given(st.lists(st.integers(0, 40), max_size=6))
def test_a_tree_that_grows_in_batches_has_the_root_of_one_that_grew_at_once(batches):
    size, roots = 0, []
    for batch in batches:
        tree = proofs.Frontier(size, roots)
        for leaf in (LEAVES * 2)[size : size + batch]:
            tree.append(leaf)
        size, roots = tree.size, tree.roots
    assert proofs.Frontier(size, roots).root() == proofs.root_of((LEAVES * 2)[:size])


def test_the_empty_tree_has_the_hash_of_nothing():
    assert proofs.Frontier().root().hex().startswith("e3b0c442")


@pytest.mark.parametrize(("size", "roots"), [(3, [b"x" * 32]), (1, [b"short"]), (-1, [])])
def test_a_frontier_that_does_not_fit_its_size_is_refused(size, roots):
    with pytest.raises(ValueError, match="perfect subtrees"):
        proofs.Frontier(size, roots)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_no_proof_is_made_for_a_leaf_that_is_not_there(index, size):
    with pytest.raises(ValueError, match="no leaf"):
        proofs.prove_inclusion(index, size, proofs.ranges_of(LEAVES))
    assert not proofs.verify_inclusion(LEAVES[0], index, size, [], ROOTS[1])


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 5)])
def test_no_proof_is_made_that_a_tree_continues_a_larger_or_an_empty_one(old, new):
    with pytest.raises(ValueError, match="does not continue"):
        proofs.prove_consistency(old, new, proofs.ranges_of(LEAVES))
    assert not proofs.verify_consistency(old, new, ROOTS[1], ROOTS[1], [])


def test_a_million_leaves_need_no_more_than_twenty_hashes():
    path = proofs.prove_inclusion(777_777, 1_000_000, lambda _start, _end: b"\0" * 32)
    assert len(path) <= 20
