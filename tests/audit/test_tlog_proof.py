"""The only place that tests proofs as text."""

from __future__ import annotations

import pytest
from bundle_folder import KEY, ORIGIN, OTHER_KEY
from hypothesis import given
from hypothesis import strategies as st

from audit import checkpoints, proofs, tlog_proof
from audit.checkpoints import Checkpoint, CheckpointNotSigned, VerifierKey
from audit.tlog_proof import NotIncluded, ProofMalformed, TlogProof

LOG = VerifierKey(ORIGIN, KEY.public_key())
LEAVES = [proofs.leaf_hash(f"entry {number}".encode()) for number in range(11)]
NOTE = checkpoints.sign(Checkpoint(ORIGIN, len(LEAVES), proofs.root_of(LEAVES)), KEY)


def _proof(index: int, *, extra: bytes = b"") -> str:
    path = proofs.prove_inclusion(index, len(LEAVES), proofs.ranges_of(LEAVES))
    return str(TlogProof(index, path, NOTE, extra))


PROOF = _proof(5)


@pytest.mark.parametrize("index", range(len(LEAVES)))
def test_each_entry_is_proven_at_its_index_and_nowhere_else(index):
    assert tlog_proof.verify(_proof(index), LEAVES[index], LOG).size == len(LEAVES)
    for other in set(range(len(LEAVES))) - {index}:
        with pytest.raises(NotIncluded):
            tlog_proof.verify(_proof(other), LEAVES[index], LOG)


def test_the_text_is_the_specifications():
    lines = PROOF.split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 5"]
    assert PROOF.endswith(f"\n\n{NOTE}")
    assert len(lines[2:].pop(0)) == 44


def test_extra_data_is_carried_and_proves_nothing():
    proof = _proof(5, extra=b"refund-desk")
    assert proof.split("\n")[1] == "extra cmVmdW5kLWRlc2s="
    assert tlog_proof.read(proof).extra == b"refund-desk"
    assert str(tlog_proof.read(proof)) == proof
    assert tlog_proof.verify(proof, LEAVES[5], LOG)


def test_a_tree_of_one_entry_needs_no_hashes():
    root = proofs.root_of(LEAVES[:1])
    proof = str(TlogProof(0, [], checkpoints.sign(Checkpoint(ORIGIN, 1, root), KEY)))
    assert proof.startswith("c2sp.org/tlog-proof@v1\nindex 0\n\n")
    assert tlog_proof.verify(proof, LEAVES[0], LOG)


def test_a_proof_by_another_key_proves_nothing():
    with pytest.raises(CheckpointNotSigned):
        tlog_proof.verify(PROOF, LEAVES[5], VerifierKey(ORIGIN, OTHER_KEY.public_key()))


def test_no_bit_of_a_proof_can_change():
    raw = PROOF.encode()
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises((tlog_proof.Problem, UnicodeDecodeError)):
            tlog_proof.verify(flipped.decode(), LEAVES[5], LOG)


def test_a_proof_at_a_million_entries_fits_in_1500_bytes():
    node = b"\xff" * 32
    note = checkpoints.sign(Checkpoint("ledger.countersign.example/acme", 10**6, node), KEY)
    proof = str(TlogProof(10**6 - 1, [node] * 20, note))
    assert len(proof.encode()) <= 1500


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("index 5\n", ""),
        ("index 5", "index 05"),
        ("index 5", "index -5"),
        ("index 5", "index 5 "),
        ("index 5", "index \u0665"),
        ("index 5", f"index {2**63}"),
        ("index 5", "extra \nindex 5"),
        ("index 5", "extra !\nindex 5"),
        ("index 5", "index 5\nAAAA"),
        ("index 5", "index 5\n!!!"),
        ("index 5", "index 5" + f"\n{'A' * 43}=" * 64),
    ],
)
def test_a_proof_that_breaks_a_rule_is_malformed(old, new):
    with pytest.raises(ProofMalformed):
        tlog_proof.read(PROOF.replace(old, new, 1))


@given(st.text())
def test_garbage_is_malformed_and_nothing_worse(text):
    with pytest.raises(ProofMalformed):
        tlog_proof.read(text)
