"""The only place for bodies: the parts of an entry that may be about a person. No Django.

A body holds, for each private field of its event, the value and the salt of its commitment. It is
encrypted (AES-256-GCM, NIST SP 800-38D, random 96-bit nonces) under the key of one data subject
and bound to its entry. Once that key is destroyed, nobody can tell what the entry was about, and
every proof of the ledger stays valid.
"""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

import msgspec
import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit import canonical, commitments
from audit.errors import Problem

NONCE_BYTES = 12
KEY_BYTES = 32
# Of a larger value the salt alone is kept, so that who has the value elsewhere can show it.
MAX_VALUE_BYTES = 65_536


class BodyUnreadable(Problem):
    """The body of the entry {entry} does not open with its subject's key."""

    code = "body_unreadable"
    status = 500


class Subject(msgspec.Struct, frozen=True):
    """Whom an entry is about: a pseudonym, and the key (32 bytes) that opens what is private."""

    id: UUID
    key: bytes

    def __repr__(self) -> str:
        return f"Subject({self.id})"

    def commitment(self, value: Any) -> str:
        """The commitment that `value` always has for this subject. Raises NotCanonical."""
        return commitments.commit(value, commitments.derived_salt(self.key, value))


class Part(msgspec.Struct, frozen=True):
    """A private value, and the salt of its commitment."""

    salt: bytes
    value: Any

    @property
    def commitment(self) -> str:
        """What stands for the value in the entry. Raises NotCanonical."""
        return commitments.commit(self.value, self.salt)


Parts = dict[str, Part]


def seal(parts: Parts, subject: Subject, entry: UUID) -> bytes:
    """The body of `entry`: nonce, ciphertext, tag."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(subject.key).encrypt(nonce, encode(parts), entry.bytes)


def open_(sealed: bytes, subject: Subject, entry: UUID) -> dict[str, Any]:
    """The JSON object of a body. Raises BodyUnreadable."""
    nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        plain = AESGCM(subject.key).decrypt(nonce, rest, entry.bytes)
    except (InvalidTag, ValueError):
        raise BodyUnreadable(entry=str(entry)) from None
    body: dict[str, Any] = orjson.loads(plain)
    return body


def encode(parts: Parts) -> bytes:
    """The canonical JSON of a body: {"parts": {field: {"salt": hex, "value": …}}}.

    A value that is too large to be kept is left out.
    """
    return canonical.encode({"parts": {name: _shown(part) for name, part in parts.items()}})


def _shown(part: Part) -> dict[str, Any]:
    salt = part.salt.hex()
    is_kept = len(canonical.encode(part.value)) <= MAX_VALUE_BYTES
    return {"salt": salt, "value": part.value} if is_kept else {"salt": salt}
