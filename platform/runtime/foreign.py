"""The only place that reads JSON that somebody else wrote: a model, or a tool.

What is read can be kept: PostgreSQL stores it, and nothing that walks it exhausts the stack.
"""

from __future__ import annotations

from typing import Any

import msgspec

DEEPEST = 64
"""Levels of arrays and objects; json and the database stop somewhere beyond."""


class Unreadable(Exception):
    """The text is no JSON that can be kept; the message says why, and may be shown."""


def parsed(text: bytes | str) -> Any:
    """The value of `text` (RFC 8259, UTF-8). Raises Unreadable."""
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as problem:  # msgspec's own, and bytes that are not UTF-8
        raise Unreadable(f"it is not JSON ({problem})") from None
    _check_depth(value, DEEPEST)
    return value


def _check_depth(value: Any, levels: int) -> None:
    parts = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return
    if levels == 0:
        raise _too_deep()
    for part in parts:
        _check_depth(part, levels - 1)


def _too_deep() -> Unreadable:
    return Unreadable(f"it is nested deeper than {DEEPEST} levels")
