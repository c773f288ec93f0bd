"""The only place for the keys and the origin of logs that are made without a database."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.checkpoints import VerifierKey

ORIGIN = "ledger.test/acme"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def key_line(key: Ed25519PrivateKey = KEY, origin: str = ORIGIN) -> str:
    """The key as its owner would hand it out."""
    return str(VerifierKey(origin, key.public_key()))
