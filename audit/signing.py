"""The only place that says what a keyring of a log is, and for keys that are files.

They are never in the database: files, or kept by a token (audit.token_keys). Ed25519 always;
ML-DSA-44 (FIPS 204) besides, where a file for it is named: a signature that holds against a quantum
computer too.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit import durable_files
from audit.errors import Problem
from audit.note_keys import PrivateKey

Key = Ed25519PrivateKey | MLDSA44PrivateKey

log = logging.getLogger(__name__)


class LedgerKeyUnusable(Problem):
    """The ledger's signing key in {place} can't be used: {reason}."""

    code = "ledger_key_unusable"
    status = 500


class Keyring(Protocol):
    """The keys of one kind that logs are signed with: one, and while they are rotated others too.

    It sees what another process does to them. All raise LedgerKeyUnusable; of files, OSError too.
    """

    @property
    def place(self) -> str:
        """Where they are, for messages."""

    def held(self) -> Sequence[PrivateKey]:
        """All of them; the one that a new log is signed with, made on the first start, is first."""

    @property
    def newest(self) -> PrivateKey:
        """The key that logs go over to."""

    @property
    def is_rotating(self) -> bool:
        """Whether a rotation has begun, and not ended."""

    def make_next(self) -> None:
        """Make a key beside the present one, unless it is there."""

    def promote(self) -> None:
        """Put the newest key in the place of the present one, which stays at hand."""

    def forget_old(self) -> None:
        """Destroy all but the newest key."""


class FileKeyring:
    """A Keyring of files: that at `path`, and while keys are rotated those beside it, `….next` and
    `….<some of its hash>.old`.

    It sees what another process does to these files; each of them is whole at any time.
    """

    def __init__(self, path: Path, load: Callable[[Path], Key]) -> None:
        self.path = path
        self._load = load
        self._next = path.with_name(f"{path.name}.next")
        self._is_old = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.old").fullmatch
        self._known: tuple[list[tuple[Path, int, int]], list[Key]] = ([], [])

    @property
    def place(self) -> str:
        """The file at `path`."""
        return str(self.path)

    def held(self) -> list[Key]:
        """All of them; the one at `path`, made on the first start, comes first.

        Raises LedgerKeyUnusable.
        """
        stamps = self._stamps()
        if not stamps or stamps != self._known[0]:
            keys = [self._load(self.path), *(self._load(path) for path, *_ in stamps[1:])]
            self._known = (self._stamps()[:1] + stamps[1:], keys)
        return self._known[1]

    @property
    def newest(self) -> Key:
        """The key that logs go over to. Raises LedgerKeyUnusable."""
        return self._load(self._next if self._next.exists() else self.path)

    @property
    def is_rotating(self) -> bool:
        """Whether a rotation has begun, and not ended."""
        return self._next.exists() or bool(self._old())

    def make_next(self) -> None:
        """Make a key beside the present one, unless it is there. Raises LedgerKeyUnusable."""
        self._load(self.path)  # never without a present one
        self._load(self._next)

    def promote(self) -> None:
        """Put the next key in the place of the present one, which is kept aside: at any moment
        there is one or the other. Nothing where there is no next key. Raises OSError.
        """
        if not self._next.exists():
            return
        public = self._load(self.path).public_key().public_bytes_raw()
        aside = f"{self.path.name}.{hashlib.sha256(public).hexdigest()[:16]}.old"
        with contextlib.suppress(FileExistsError):
            self.path.with_name(aside).hardlink_to(self.path)
        durable_files.flush_folder(self.path.parent)
        self._next.replace(self.path)
        durable_files.flush_folder(self.path.parent)

    def forget_old(self) -> None:
        """Destroy the keys that were put aside. Raises OSError."""
        for path in self._old():
            path.unlink()
        durable_files.flush_folder(self.path.parent)

    def _old(self) -> list[Path]:
        return sorted(path for path in self._beside() if self._is_old(path.name))

    def _beside(self) -> list[Path]:
        return list(self.path.parent.iterdir()) if self.path.parent.is_dir() else []

    def _stamps(self) -> list[tuple[Path, int, int]]:
        """What tells whether a file is another than before; `path` first."""
        stamps = []
        for path in (self.path, self._next, *self._old()):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                stamps.append((path, found.st_ino, found.st_mtime_ns))
        return stamps


def load(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key in `path` (PEM, PKCS #8, mode 0600); made there on the first start.

    Raises LedgerKeyUnusable when the file may be read by others or is no Ed25519 key.
    """
    key = _key_in(path, Ed25519PrivateKey.generate)
    if not isinstance(key, Ed25519PrivateKey):
        raise LedgerKeyUnusable(place=str(path), reason="it is not an Ed25519 key")
    return key


def load_mldsa(path: Path) -> MLDSA44PrivateKey:
    """The ML-DSA-44 key in `path`, under the same terms. Raises LedgerKeyUnusable."""
    key = _key_in(path, MLDSA44PrivateKey.generate)
    if not isinstance(key, MLDSA44PrivateKey):
        raise LedgerKeyUnusable(place=str(path), reason="it is not an ML-DSA-44 key")
    return key


def _key_in(path: Path, make: Callable[[], Key]) -> object:
    if not path.exists():
        _make(path, make())
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise LedgerKeyUnusable(place=str(path), reason="others may read it; set its mode to 0600")
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as problem:
        raise LedgerKeyUnusable(place=str(path), reason="it is not a PEM private key") from problem


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
