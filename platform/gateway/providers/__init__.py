"""The only place that knows which kinds of provider there are: the folders beside this file."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.providers.protocol import Provider


@functools.cache
def kinds() -> frozenset[str]:
    """Return the kinds that can be configured, e.g. {"offline", "openai"}."""
    return frozenset(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


@functools.cache
def of(kind: str) -> Provider:
    """Return the process's one provider of that kind; `kind` is one of `kinds()`."""
    folder = importlib.import_module(f"gateway.providers.{kind}")
    (class_name,) = folder.__all__
    provider: Provider = getattr(folder, class_name)()
    return provider
