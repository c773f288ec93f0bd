"""The only place for base64 (RFC 4648, section 4) that has one way to be written. No Django."""

from __future__ import annotations

import base64
import binascii


def encode(raw: bytes) -> str:
    """`raw` as base64."""
    return base64.b64encode(raw).decode()


def decode(text: str) -> bytes:
    """The bytes of `text`. Raises ValueError, also where the text is not as `encode` writes it."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None
    # Unused bits at the end must be 0, so that what is signed has one way to be written.
    if encode(raw) != text:
        raise ValueError("it is not canonical base64")
    return raw


def decode_hash(text: str) -> bytes:
    """The 32 bytes of a hash. Raises ValueError."""
    raw = decode(text)
    if len(raw) != 32:
        raise ValueError("it is not the base64 of 32 bytes")
    return raw
