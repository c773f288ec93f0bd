"""The only place that starts the model APIs of the gateway's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from model_api import Upstream, serve
from model_rows import endpoint, provider, route, vector_endpoint

from gateway import connections

__all__ = ["endpoint", "provider", "route", "vector_endpoint"]


@pytest.fixture
def loopback_allowed(settings: Any) -> None:
    """What an operator sets in a development environment."""
    settings.ALLOW_PRIVATE_ADDRESSES = True


@pytest_asyncio.fixture
async def upstream(loopback_allowed: None) -> AsyncIterator[Upstream]:
    """A model API."""
    made = Upstream()
    runner = await serve(made)
    yield made
    await connections.close()
    await runner.cleanup()


@pytest_asyncio.fixture
async def second_upstream(loopback_allowed: None) -> AsyncIterator[Upstream]:
    """Another model API, for routes with a second choice."""
    made = Upstream()
    runner = await serve(made)
    yield made
    await runner.cleanup()
