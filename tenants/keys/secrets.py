"""The only place that knows how a key is written: `cs_<tenant>_<id>_<secret>`. No Django."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

import msgspec

PATTERN = re.compile(
    r"cs_(?P<tenant>[a-z][a-z0-9-]{1,29})_(?P<public_id>[0-9a-f]{16})_(?P<secret>[0-9a-f]{48})"
)


class PresentedKey(msgspec.Struct, frozen=True):
    """A key as a caller presented it: well formed, not yet checked."""

    tenant: str
    public_id: str
    secret: str

    def matches(self, secret_hash: str) -> bool:
        """Whether the secret hashes to `secret_hash` (hex SHA-256), in constant time."""
        return hmac.compare_digest(hash_of(self.secret), secret_hash)


def hash_of(secret: str) -> str:
    """Hex SHA-256. The secret has 192 random bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(secret.encode()).hexdigest()


def parse(text: str) -> PresentedKey | None:
    """The key that `text` is, or None where it is not written as one."""
    match = PATTERN.fullmatch(text)
    return PresentedKey(**match.groupdict()) if match else None


def generate(tenant: str) -> tuple[str, str, str]:
    """A new key for `tenant`: (the whole text to show once, its public id, its secret's hash)."""
    public_id, secret = secrets.token_hex(8), secrets.token_hex(24)
    return f"cs_{tenant}_{public_id}_{secret}", public_id, hash_of(secret)
