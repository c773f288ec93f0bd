"""The only place that reads JSON and writes it canonically (RFC 8785); on purpose not by our own
audit.canonical: what judges the log shares no line with what wrote it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn


def load(raw: bytes) -> Any:
    """The value of `raw`. Raises ValueError, for a float and a name that stands twice too."""
    try:
        return _ONCE.decode(raw.decode())
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def load_canonical(raw: bytes) -> Any:
    """The value of `raw`, which must be its RFC 8785 form. Raises ValueError."""
    try:
        text = raw.decode()
        value = _PLAIN.decode(text)
        # A name that stands twice is written once, and so is found as well. In ASCII the order of
        # UTF-16 units, which the RFC asks for, is Python's own.
        same = _SORTED.encode(value) == text if raw.isascii() else canonical(value) == raw
        if not same:
            raise ValueError("it is not canonical JSON")
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def canonical(value: Any) -> bytes:
    """`value` as RFC 8785 bytes: members in the order of their UTF-16 units, no white space.

    Raises ValueError where it is nested too deep, or holds half a character.
    """
    try:
        return _AS_IT_STANDS.encode(_in_utf16_order(value)).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def commitment(salt: str, value: Any) -> str:
    """SHA-256(salt || canonical JSON of `value`), 64 hexadecimal digits; `salt` is in them too."""
    return hashlib.sha256(bytes.fromhex(salt) + canonical(value)).hexdigest()


def _in_utf16_order(value: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return {key: _in_utf16_order(value[key]) for key in keys}
    return [_in_utf16_order(item) for item in value] if isinstance(value, list) else value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no integer")


_PLAIN = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse)
_ONCE = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse, object_pairs_hook=_once)
_SORTED = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
_AS_IT_STANDS = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
