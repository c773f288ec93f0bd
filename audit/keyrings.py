"""The only place that says which keyrings the settings name."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from audit import key_uris, signing
from audit.signing import FileKeyring, Keyring
from audit.token_keys import TokenKeyring


def configured() -> list[Keyring]:
    """The log's keys: Ed25519, and ML-DSA-44 where a file for it is configured."""
    rings = [ed25519(), mldsa()]
    return [ring for ring in rings if ring is not None]


def ed25519() -> Keyring:
    """The log's Ed25519 keys: in a token where one is configured, else in a file."""
    if settings.LEDGER_KEY_URI:
        return TokenKeyring(key_uris.parsed(settings.LEDGER_KEY_URI))
    return FileKeyring(Path(settings.LEDGER_KEY_FILE), signing.load)


def mldsa() -> Keyring | None:
    """The log's ML-DSA-44 keys; None where no file for them is configured."""
    if not settings.LEDGER_MLDSA_KEY_FILE:
        return None
    return FileKeyring(Path(settings.LEDGER_MLDSA_KEY_FILE), signing.load_mldsa)
