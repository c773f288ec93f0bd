"""The only place for proofs as text (C2SP tlog-proof): one entry is in a signed tree. No Django."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit import base64_text, checkpoint_text, checkpoints, proofs
from audit.checkpoint_text import Checkpoint, CheckpointMalformed
from audit.errors import Problem
from audit.note_keys import VerifierKey

HEADER = "c2sp.org/tlog-proof@v1"
# A tree of 2^63 leaves has paths of 63 hashes.
LONGEST_PATH = 63


class ProofMalformed(Problem):
    """The proof is malformed: {reason}."""

    code = "proof_malformed"
    status = 422


class NotIncluded(Problem):
    """The proof does not show that the entry is at index {index} of the log {origin}."""

    code = "not_included"
    status = 422


@dataclass(frozen=True)
class TlogProof:
    """The index of a leaf, its path (leaf's side first), the signed note; `extra` proves nothing"""

    index: int
    path: Sequence[bytes]
    note: str
    extra: bytes = b""

    def __str__(self) -> str:
        extra = [f"extra {base64_text.encode(self.extra)}"] if self.extra else []
        path = [base64_text.encode(node) for node in self.path]
        return "\n".join([HEADER, *extra, f"index {self.index}", *path, "", self.note])


def read(text: str) -> TlogProof:
    """What the proof says, of a checkpoint that nobody has verified yet. Raises ProofMalformed."""
    head, gap, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != HEADER or not gap or not lines:
        raise ProofMalformed(reason=f"it does not begin with {HEADER}")
    extra = lines.pop(0).removeprefix("extra ") if lines[0].startswith("extra ") else None
    if not lines or not lines[0].startswith("index ") or len(lines) > LONGEST_PATH + 1:
        raise ProofMalformed(reason="it has no index, or too many hashes")
    try:
        index = checkpoint_text.read_size(lines[0].removeprefix("index "))
        path = [base64_text.decode_hash(line) for line in lines[1:]]
        return TlogProof(index, path, note, _extra(extra))
    except (ValueError, CheckpointMalformed) as problem:
        raise ProofMalformed(reason=str(problem)) from None


def verify(text: str, leaf: bytes, *keys: VerifierKey) -> Checkpoint:
    """The checkpoint, signed by one of `keys`, over a tree that holds the leaf's hash (32 bytes).

    Raises ProofMalformed, CheckpointMalformed, CheckpointNotSigned, NotIncluded.
    """
    proof = read(text)
    checkpoint = checkpoints.verify(proof.note, *keys)
    held = proofs.verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)
    if not held:
        raise NotIncluded(index=proof.index, origin=checkpoint.origin)
    return checkpoint


def _extra(encoded: str | None) -> bytes:
    if encoded == "":
        raise ValueError("without extra data the line is left out")
    return base64_text.decode(encoded or "")
