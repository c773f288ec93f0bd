"""The only place for commitments: a hash that says nothing until its salt is shown. No Django."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

from audit import canonical

SALT_BYTES = 32


def new_salt() -> bytes:
    """32 random bytes."""
    return os.urandom(SALT_BYTES)


def commit(value: Any, salt: bytes) -> str:
    """SHA-256(salt || canonical JSON of `value`), 64 hexadecimal digits. Raises NotCanonical."""
    return hashlib.sha256(salt + canonical.encode(value)).hexdigest()


def derived_salt(key: bytes, value: Any) -> bytes:
    """The salt that `key` gives `value`: HMAC-SHA-256, the same each time, random without the key.

    For what is committed to in several entries, which then show that they mean the same thing.
    Raises NotCanonical.
    """
    return hmac.digest(key, b"salt\x00" + canonical.encode(value), "sha256")
