"""The only place for the keys that sign checkpoints. They are files, and never in the database.

Ed25519 always; ML-DSA-44 (FIPS 204) besides, where a file for it is named: a signature that holds
against a quantum computer too.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit import durable_files
from audit.errors import Problem

Key = Ed25519PrivateKey | MLDSA44PrivateKey

log = logging.getLogger(__name__)


class LedgerKeyUnusable(Problem):
    """The ledger's signing key in {path} can't be used: {reason}."""

    code = "ledger_key_unusable"
    status = 500


def load(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key in `path` (PEM, PKCS #8, mode 0600); made there on the first start.

    Raises LedgerKeyUnusable when the file may be read by others or is no Ed25519 key.
    """
    key = _key_in(path, Ed25519PrivateKey.generate)
    if not isinstance(key, Ed25519PrivateKey):
        raise LedgerKeyUnusable(path=str(path), reason="it is not an Ed25519 key")
    return key


def load_mldsa(path: Path) -> MLDSA44PrivateKey:
    """The ML-DSA-44 key in `path`, under the same terms. Raises LedgerKeyUnusable."""
    key = _key_in(path, MLDSA44PrivateKey.generate)
    if not isinstance(key, MLDSA44PrivateKey):
        raise LedgerKeyUnusable(path=str(path), reason="it is not an ML-DSA-44 key")
    return key


def _key_in(path: Path, make: Callable[[], Key]) -> object:
    if not path.exists():
        _make(path, make())
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise LedgerKeyUnusable(path=str(path), reason="others may read it; set its mode to 0600")
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as problem:
        raise LedgerKeyUnusable(path=str(path), reason="it is not a PEM private key") from problem


def _make(path: Path, key: Key) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if durable_files.write_once(path, pem):  # two first starts agree
        log.info(
            "Made a key that signs the checkpoints: %s. Back it up, apart from the database.",
            path,
        )
    else:
        log.info("Another process made a key that signs the ledgers' checkpoints: %s.", path)
