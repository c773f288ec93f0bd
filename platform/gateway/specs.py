"""The only place that says what a route and its endpoints are to the async path: frozen, no ORM."""

from __future__ import annotations

from typing import Literal

import msgspec

from tenants.encryption import Secret

Purpose = Literal["chat", "embeddings"]


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider. Prices are micros of a US dollar per million tokens."""

    slug: str
    provider: str
    kind: str
    base_url: str
    api_key: Secret | None
    timeout_seconds: int
    model: str
    purpose: Purpose
    input_micros_per_million: int = 0
    output_micros_per_million: int = 0
    dimensions: int | None = None
    max_tokens: int | None = None


class RouteSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A name that a client asks for, and the endpoints that serve it, first choice first."""

    tenant: str
    slug: str
    purpose: Purpose
    endpoints: tuple[EndpointSpec, ...]
