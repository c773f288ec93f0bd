"""The only place for the keys of signed notes, and for the bytes that each kind signs. No Django.

C2SP signed-note (Ed25519, 0x01) and tlog-cosignature (Ed25519 with a time, 0x04; ML-DSA-44, 0x06).
A key is known by its name and its id, the first 4 bytes of
SHA-256(name || 0x0A || kind || public key); so one name may have many keys.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from audit import base64_text, checkpoint_text
from audit.errors import Problem

PublicKey = Ed25519PublicKey | MLDSA44PublicKey

# No Unicode space, no plus, and nothing that a note may not hold.
NAME = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
# An ML-DSA-44 cosignature gives the length of the name in one byte.
LONGEST_NAME = 255
LATEST = 2**63 - 1
SUBTREE = b"subtree/v1\n\x00"


class KeyMalformed(Problem):
    """The verifier key is malformed: {reason}."""

    code = "verifier_key_malformed"
    status = 422


class KeyKind(IntEnum):
    """What a key signs: the byte that signed-note assigns to it."""

    ED25519 = 0x01
    ED25519_COSIGNATURE = 0x04
    MLDSA44_COSIGNATURE = 0x06


class PrivateKey(Protocol):
    """What signs: a key of `cryptography`, or one that a key service keeps."""

    def public_key(self) -> PublicKey: ...

    def sign(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class VerifierKey:
    """A public key with the name that it signs under: `<name>+<key id in hex>+<base64>`."""

    name: str
    public: PublicKey
    kind: KeyKind = KeyKind.ED25519

    def __post_init__(self) -> None:
        is_mldsa = isinstance(self.public, MLDSA44PublicKey)
        if is_mldsa != (self.kind is KeyKind.MLDSA44_COSIGNATURE) or not is_name(self.name):
            raise ValueError(f"no key of kind {self.kind.name} can be named {self.name!r}")

    def __hash__(self) -> int:
        return hash((self.name, self.id))

    @property
    def id(self) -> bytes:
        """The 4 bytes that, with the name, tell this key from others."""
        return key_id(self.name, self.kind, self.public.public_bytes_raw())

    def __str__(self) -> str:
        encoded = base64_text.encode(bytes([self.kind]) + self.public.public_bytes_raw())
        return f"{self.name}+{self.id.hex()}+{encoded}"

    def is_signature(self, text: str, signature: bytes) -> bool:
        """Whether this key made `signature` (with its time, where it has one) over `text`."""
        seconds, bare = self.parts(signature)
        try:
            self.public.verify(bare, message(self.name, self.kind, text, seconds))
        except (InvalidSignature, ValueError, checkpoint_text.CheckpointMalformed):
            return False
        return True

    def parts(self, signature: bytes) -> tuple[int, bytes]:
        """The time of `signature` in POSIX seconds (0 where its kind has none), and the rest."""
        if self.kind is KeyKind.ED25519:
            return 0, signature
        return int.from_bytes(signature[:8], "big"), signature[8:]


@dataclass(frozen=True)
class SigningKey:
    """A private key with the name and the kind that it signs as."""

    name: str
    private: PrivateKey
    kind: KeyKind

    @property
    def verifier(self) -> VerifierKey:
        """The public half. Raises ValueError if the key does not fit its name or kind."""
        return VerifierKey(self.name, self.private.public_key(), self.kind)

    def sign(self, text: str, *, seconds: int) -> bytes:
        """The signature over `text`: with its time, where its kind has one.

        Raises CheckpointMalformed where the kind signs checkpoints alone and `text` is none.
        """
        bare = self.private.sign(message(self.name, self.kind, text, seconds))
        return bare if self.kind is KeyKind.ED25519 else seconds.to_bytes(8, "big") + bare


def parse_key(text: str) -> VerifierKey:
    """A verifier key from its one-line form. Raises KeyMalformed."""
    name, _, rest = text.strip("\n").partition("+")
    id_, _, encoded = rest.partition("+")
    try:
        raw = base64_text.decode(encoded)
        key = VerifierKey(name, _public(raw), KeyKind(raw[0]))
    except (ValueError, IndexError) as problem:
        raise KeyMalformed(reason=f"it is not name+id+base64 of a known kind: {problem}") from None
    if key.id.hex() != id_:
        raise KeyMalformed(reason="its id does not belong to its name and bytes")
    return key


def is_name(text: str) -> bool:
    """Whether a key may have this name."""
    return bool(NAME.fullmatch(text)) and len(text.encode()) <= LONGEST_NAME


def key_id(name: str, kind: KeyKind, public: bytes) -> bytes:
    """The id of a key: 4 bytes."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def message(name: str, kind: KeyKind, text: str, seconds: int) -> bytes:
    """The bytes that a key of this name and kind signs for `text`, at a time in POSIX seconds.

    Raises ValueError for a time past 2^63-1, CheckpointMalformed where `text` must be a checkpoint.
    """
    if not 0 <= seconds <= LATEST:
        raise ValueError("the time is past 2^63-1 seconds")
    if kind is KeyKind.ED25519:
        return text.encode()
    if kind is KeyKind.ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {seconds}\n{text}".encode()
    return cosigned_message(name, checkpoint_text.read_text(text), seconds)


def cosigned_message(name: str, checkpoint: checkpoint_text.Checkpoint, seconds: int) -> bytes:
    """The bytes of an ML-DSA-44 cosignature (tlog-cosignature, `cosigned_message`).

    They leave out the checkpoint's extension lines: such a key vouches for the tree alone.
    """
    numbers = [(0).to_bytes(8, "big"), checkpoint.size.to_bytes(8, "big")]
    opening = [SUBTREE, _opaque(name), seconds.to_bytes(8, "big"), _opaque(checkpoint.origin)]
    return b"".join([*opening, *numbers, checkpoint.root])


def _opaque(text: str) -> bytes:
    raw = text.encode()
    return bytes([len(raw)]) + raw


def _public(raw: bytes) -> PublicKey:
    if raw[0] == KeyKind.MLDSA44_COSIGNATURE:
        return MLDSA44PublicKey.from_public_bytes(raw[1:])
    return Ed25519PublicKey.from_public_bytes(raw[1:])
