"""The only place that encrypts: secrets of a tenant at rest (API keys, tool headers).

AES-256-GCM (NIST SP 800-38D, 96-bit random nonces) under a key derived from SECRET_KEY with HKDF
(RFC 5869). The tenant's schema is authenticated with each secret, so a row that was copied into
another tenant's schema does not open there.
"""

from __future__ import annotations

import functools
import os
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from audit.errors import Problem
from tenants import isolation

FORMAT = b"\x01"
NONCE_BYTES = 12
PURPOSE = b"countersign secrets at rest 1"


class SecretUnreadable(Problem):
    """A stored secret does not open: it was sealed for another tenant or with another key."""

    code = "secret_unreadable"
    status = 500


class Secret:
    """A text that shows itself only when asked: never in a log, a traceback or a pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


def seal(text: str) -> bytes:
    """Return `text` encrypted for the active tenant: format byte, nonce, ciphertext, tag."""
    nonce = os.urandom(NONCE_BYTES)
    sealed = _cipher(settings.SECRET_KEY).encrypt(nonce, text.encode(), _binding())
    return FORMAT + nonce + sealed


def open(sealed: bytes | memoryview) -> str:  # noqa: A001  (the pair of `seal`)
    """Return the text in `sealed`, for the tenant that sealed it.

    Keys in SECRET_KEY_FALLBACKS open too, so that SECRET_KEY can be rotated.
    Raises SecretUnreadable, NoTenant.
    """
    data = bytes(sealed)
    binding = _binding()
    nonce, body = data[1 : 1 + NONCE_BYTES], data[1 + NONCE_BYTES :]
    if data[:1] != FORMAT or len(nonce) != NONCE_BYTES:
        raise SecretUnreadable
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        try:
            return _cipher(key).decrypt(nonce, body, binding).decode()
        except InvalidTag:
            continue
    raise SecretUnreadable


def _binding() -> bytes:
    return str(isolation.current().schema_name).encode()


@functools.lru_cache(maxsize=4)
def _cipher(secret_key: str) -> AESGCM:
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE)
    return AESGCM(derive.derive(secret_key.encode()))
