"""The only place for the providers, endpoints and routes that acme has in these tests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from cast import Cast

from gateway import accounts, endpoints, routes
from gateway.models import Endpoint, Provider, Route

KEY = "sk-acme-0123456789abcdef"


@pytest.fixture
def provider(acme: Cast, now: datetime) -> Provider:
    return accounts.add(
        "openai-eu",
        kind="openai",
        base_url="https://api.example.com/v1",
        api_key=KEY,
        by=acme.alice,
        now=now,
    )


@pytest.fixture
def endpoint(acme: Cast, provider: Provider, now: datetime) -> Endpoint:
    return endpoints.add(
        "small",
        provider=provider,
        model="gpt-small",
        purpose="chat",
        input_micros_per_million=150_000,
        output_micros_per_million=600_000,
        by=acme.alice,
        now=now,
    )


@pytest.fixture
def vector_endpoint(acme: Cast, provider: Provider, now: datetime) -> Endpoint:
    return add_vectors("vec-a", provider, acme, now)


def add_vectors(
    slug: str, provider: Provider, acme: Cast, now: datetime, **fields: Any
) -> Endpoint:
    plain = {"model": "vec", "dimensions": 256, **fields}
    return endpoints.add(
        slug, provider=provider, purpose="embeddings", by=acme.alice, now=now, **plain
    )


@pytest.fixture
def route(acme: Cast, endpoint: Endpoint, now: datetime) -> Route:
    return routes.add("fast", purpose="chat", endpoints=[endpoint], by=acme.alice, now=now)
