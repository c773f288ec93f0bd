"""The only place that signs and verifies checkpoints: a tree's size and root, signed. No Django.

Text: audit.checkpoint_text (C2SP tlog-checkpoint). Envelope and keys: audit.notes and
audit.note_keys (C2SP signed-note). A log signs under its origin as the key's name: with Ed25519,
and if it likes with ML-DSA-44 too. Cosigners add lines of their own (C2SP tlog-cosignature).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from audit import checkpoint_text, note_keys, notes
from audit.checkpoint_text import Checkpoint, CheckpointMalformed
from audit.errors import Problem
from audit.note_keys import KeyKind, PrivateKey, SigningKey, VerifierKey
from audit.notes import Verified

__all__ = [
    "Checkpoint",
    "CheckpointMalformed",
    "CheckpointNotSigned",
    "KeyKind",
    "SigningKey",
    "Verified",
    "VerifierKey",
    "cosign",
    "log_key",
    "parse_key",
    "parse_keys",
    "read",
    "sign",
    "signed_by",
    "verify",
    "with_signatures",
]


class CheckpointNotSigned(Problem):
    """The checkpoint has no valid signature of the key {key}."""

    code = "checkpoint_not_signed"
    status = 422


def log_key(origin: str, private: PrivateKey) -> SigningKey:
    """The key under which the log `origin` signs: Ed25519 or ML-DSA-44, as `private` is."""
    is_mldsa = isinstance(private.public_key(), MLDSA44PublicKey)
    kind = KeyKind.MLDSA44_COSIGNATURE if is_mldsa else KeyKind.ED25519
    return SigningKey(origin, private, kind)


def parse_key(text: str) -> VerifierKey:
    """A verifier key from its one-line form. Raises CheckpointMalformed."""
    with _as_a_checkpoint():
        return note_keys.parse_key(text.strip())


def parse_keys(text: str) -> list[VerifierKey]:
    """Verifier keys, one a line. Raises CheckpointMalformed."""
    return [parse_key(line) for line in text.splitlines() if line.strip()]


def sign(checkpoint: Checkpoint, *keys: PrivateKey, seconds: int = 0) -> str:
    """The note of `checkpoint`, signed by the log's own `keys` under its origin.

    `seconds` (POSIX) is the time in an ML-DSA-44 signature; 0 says nothing of the time. Raises
    ValueError if the origin can't be a key's name.
    """
    signers = [log_key(checkpoint.origin, key) for key in keys]
    return notes.sign(checkpoint.text, *signers, seconds=seconds)


def cosign(note: str, *keys: SigningKey, seconds: int) -> list[str]:
    """The signature lines of cosigners for the checkpoint `note`, each with its newline.

    Says nothing of whether they should sign. Raises CheckpointMalformed.
    """
    with _as_a_checkpoint():
        text = notes.parse(note).text
    checkpoint_text.read_text(text)
    return [notes.signature(text, key, seconds=seconds).line for key in keys]


def read(note: str) -> Checkpoint:
    """What `note` says, whoever signed it. Raises CheckpointMalformed."""
    with _as_a_checkpoint():
        return checkpoint_text.read_text(notes.parse(note).text)


def verify(note: str, *keys: VerifierKey) -> Checkpoint:
    """What `note` says, once at least one of `keys` is known to have signed it, and none in vain.

    Signatures of other keys are ignored. Raises CheckpointMalformed, CheckpointNotSigned.
    """
    with _as_a_checkpoint():
        return checkpoint_text.read_text(notes.verify(note, keys).text)


def signed_by(note: str, keys: Iterable[VerifierKey]) -> list[Verified]:
    """The signatures of `keys` (the log's, cosigners') on the checkpoint: key, time and line.

    Raises CheckpointMalformed; CheckpointNotSigned if one of them does not hold.
    """
    with _as_a_checkpoint():
        return notes.signed_by(note, keys)


def with_signatures(note: str, lines: Iterable[str]) -> str:
    """`note` with these signature lines added, each once. Raises CheckpointMalformed."""
    with _as_a_checkpoint():
        return notes.with_signatures(note, lines)


@contextmanager
def _as_a_checkpoint() -> Iterator[None]:
    """What is wrong with a note or a key is wrong with the checkpoint: one thing to catch."""
    try:
        yield
    except (notes.NoteMalformed, note_keys.KeyMalformed) as problem:
        raise CheckpointMalformed(**problem.details) from problem
    except notes.NoteNotSigned as problem:
        raise CheckpointNotSigned(**problem.details) from problem
