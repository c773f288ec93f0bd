"""The only place that makes evidence fit to be kept beside an approval and shown to a reviewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Evidence = Sequence[dict[str, Any]]


def storable(value: Any) -> bool:
    """Whether PostgreSQL can keep this JSON as it is: it has no NUL character anywhere."""
    if isinstance(value, str):
        return "\x00" not in value
    if isinstance(value, dict):
        return all(storable(key) and storable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(storable(item) for item in value)
    return True


def kept(value: Any) -> Any:
    """`value` with what can't be kept (NUL, half surrogate pairs) shown as a replacement mark."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {kept(key): kept(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [kept(item) for item in value]
    return value
