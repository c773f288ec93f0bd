"""The offline provider: deterministic, without a model, and honest about it."""

from __future__ import annotations

from gateway.providers.offline.provider import Offline

__all__ = ["Offline"]
