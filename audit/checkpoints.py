"""The only place for checkpoints: a tree's size and root, signed. No Django.

Text: C2SP tlog-checkpoint. Envelope and keys: C2SP signed-note, Ed25519 (algorithm byte 0x01).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.errors import Problem

ED25519 = b"\x01"
SIGNATURE_MARK = "\u2014 "
SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
NAME = re.compile(r"[^\s+]{1,255}")


class CheckpointMalformed(Problem):
    """The checkpoint is malformed: {reason}."""

    code = "checkpoint_malformed"
    status = 422


class CheckpointNotSigned(Problem):
    """The checkpoint has no valid signature of the key {key}."""

    code = "checkpoint_not_signed"
    status = 422


class Checkpoint(NamedTuple):
    """What a log vouches for: its origin, its size in entries and its root (32 bytes)."""

    origin: str
    size: int
    root: bytes


class VerifierKey(NamedTuple):
    """A public key with the name that it signs under: `<name>+<key id in hex>+<base64>`."""

    name: str
    public: Ed25519PublicKey

    @property
    def id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || 0x0A || 0x01 || public key)."""
        return _key_id(self.name, self.public.public_bytes_raw())

    def __str__(self) -> str:
        encoded = base64.b64encode(ED25519 + self.public.public_bytes_raw()).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"


def parse_key(text: str) -> VerifierKey:
    """A verifier key from its one-line form. Raises CheckpointMalformed."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = _decode(encoded, "the key")
    if not NAME.fullmatch(name) or len(raw) != 33 or raw[:1] != ED25519:
        raise CheckpointMalformed(
            reason="the key is not of the form name+id+base64 of an Ed25519 key"
        )
    key = VerifierKey(name, Ed25519PublicKey.from_public_bytes(raw[1:]))
    if key.id.hex() != key_id:
        raise CheckpointMalformed(reason="the key's id does not belong to its name and bytes")
    return key


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note of `checkpoint`, under the origin as the key's name."""
    text = "\n".join(
        [checkpoint.origin, str(checkpoint.size), base64.b64encode(checkpoint.root).decode(), ""]
    )
    key_id = _key_id(checkpoint.origin, key.public_key().public_bytes_raw())
    signature = base64.b64encode(key_id + key.sign(text.encode())).decode()
    return f"{text}\n{SIGNATURE_MARK}{checkpoint.origin} {signature}\n"


def read(note: str) -> Checkpoint:
    """What `note` says, whoever signed it. Raises CheckpointMalformed."""
    text, _ = _parts(note)
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not SIZE.fullmatch(lines[1]):
        raise CheckpointMalformed(reason="it needs an origin, a size and a root, each on a line")
    root = _decode(lines[2], "the root")
    if len(root) != 32:
        raise CheckpointMalformed(reason="its root is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def verify(note: str, key: VerifierKey) -> Checkpoint:
    """What `note` says, once `key` is known to have signed it.

    Signatures of other keys are ignored. Raises CheckpointMalformed, CheckpointNotSigned.
    """
    text, signatures = _parts(note)
    for line in signatures:
        name, _, encoded = line.removeprefix(SIGNATURE_MARK).partition(" ")
        raw = _decode(encoded, "a signature")
        if name == key.name and raw[:4] == key.id and _is_valid(key, raw[4:], text.encode()):
            return read(note)
    raise CheckpointNotSigned(key=str(key))


def _is_valid(key: VerifierKey, signature: bytes, message: bytes) -> bool:
    try:
        key.public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _parts(note: str) -> tuple[str, list[str]]:
    text, gap, tail = note.rpartition("\n\n")
    signatures = tail.split("\n")
    if not gap or signatures.pop() or not signatures:
        raise CheckpointMalformed(reason="it is not a text, an empty line and signatures")
    if not all(line.startswith(SIGNATURE_MARK) for line in signatures):
        raise CheckpointMalformed(reason="a signature line does not begin with a dash")
    return f"{text}\n", signatures


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def _decode(encoded: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise CheckpointMalformed(reason=f"{what} is not base64") from None
    # Unused bits at the end must be 0, so that a note has one way to be written.
    if base64.b64encode(raw).decode() != encoded:
        raise CheckpointMalformed(reason=f"{what} is not canonical base64")
    return raw
