"""The only place for canonical JSON (RFC 8785): one value, one sequence of bytes.

Profile: strings, integers below 2**53, booleans, null, arrays, objects. A float is refused, so
that nothing that is hashed depends on how somebody prints a number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
import rfc8785

from audit.errors import Problem

MAX_DEPTH = 100
MAX_INTEGER = 2**53 - 1


class NotCanonical(Problem):
    """The value at "{pointer}" can't be written as canonical JSON: {reason}."""

    code = "not_canonical"
    status = 422


def encode(value: Any) -> bytes:
    """`value` as RFC 8785 bytes (UTF-8). Raises NotCanonical, which points at what is wrong."""
    if _keys_are_ascii(value, (), MAX_DEPTH):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    # Beyond ASCII the order of UTF-16 units, which the RFC asks for, is not orjson's.
    return bytes(rfc8785.dumps(value))


def digest(value: Any) -> str:
    """SHA-256 of encode(value), 64 hexadecimal digits. Raises NotCanonical."""
    return hashlib.sha256(encode(value)).hexdigest()


def _keys_are_ascii(value: Any, path: tuple[str | int, ...], depth: int) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, str):
        return _check_text(value, path)
    if isinstance(value, int):
        return _check_integer(value, path)
    if depth == 0:
        raise _refusal(path, f"it lies deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return _object_keys_are_ascii(value, path, depth - 1)
    if isinstance(value, list | tuple):
        return _items_keys_are_ascii(value, path, depth - 1)
    raise _refusal(
        path, f"a {type(value).__name__} is not a string, integer, boolean, null, array or object"
    )


def _object_keys_are_ascii(value: dict[Any, Any], path: tuple[str | int, ...], depth: int) -> bool:
    ascii_only = True
    for key, item in value.items():
        if type(key) is not str:
            raise _refusal(path, f"the key {key!r} is not a string")
        here = (*path, key)
        _check_text(key, here)
        ascii_only &= key.isascii()
        ascii_only &= _keys_are_ascii(item, here, depth)
    return ascii_only


def _items_keys_are_ascii(value: Sequence[Any], path: tuple[str | int, ...], depth: int) -> bool:
    ascii_only = True
    for place, item in enumerate(value):
        ascii_only &= _keys_are_ascii(item, (*path, place), depth)
    return ascii_only


def _check_text(value: str, path: tuple[str | int, ...]) -> bool:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _refusal(path, "it holds half a surrogate pair, which is no character") from None
    return True


def _check_integer(value: int, path: tuple[str | int, ...]) -> bool:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise _refusal(path, "the integer needs more than 53 bits")
    return True


def _refusal(path: tuple[str | int, ...], reason: str) -> NotCanonical:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    pointer = "".join(f"/{step}" for step in steps)
    return NotCanonical(pointer=pointer.encode(errors="replace").decode(), reason=reason)
