"""The only place that adds, changes and removes endpoints: one model at one provider."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import ProtectedError

from audit import ledger
from audit.errors import Problem
from gateway.events import EndpointAdded, EndpointChanged, EndpointRemoved
from gateway.models import Endpoint, Provider
from tenants import configuration
from tenants.principals import Principal


class EndpointInUse(Problem):
    """The endpoint {endpoint} serves routes: {routes}. Take it out of them first."""

    code = "endpoint_in_use"
    status = 409


@transaction.atomic
def add(
    slug: str,
    *,
    provider: Provider,
    model: str,
    purpose: str,
    input_micros_per_million: int = 0,
    output_micros_per_million: int = 0,
    dimensions: int | None = None,
    max_tokens: int | None = None,
    by: Principal,
    now: datetime,
) -> Endpoint:
    """Make a model usable by routes. Prices are micros of a dollar a million tokens.

    `dimensions` is asked of an embedding model; `max_tokens` bounds a chat answer (None: the
    model's own). Raises NotPermitted, GatewaySettingInvalid, GatewaySlugTaken.
    """
    by.require("admin")
    endpoint = Endpoint(
        slug=slug,
        provider=provider,
        model=model,
        purpose=purpose,
        input_micros_per_million=input_micros_per_million,
        output_micros_per_million=output_micros_per_million,
        dimensions=dimensions,
        max_tokens=max_tokens,
        created_at=now,
    )
    endpoint.insert()
    configuration.touch()
    event = EndpointAdded(
        endpoint=slug,
        provider=provider.slug,
        model=model,
        purpose=purpose,
        input_micros_per_million=input_micros_per_million,
        output_micros_per_million=output_micros_per_million,
    )
    ledger.record(event, actor=by.actor)
    return endpoint


@transaction.atomic
def change(
    endpoint: Endpoint,
    *,
    input_micros_per_million: int,
    output_micros_per_million: int,
    max_tokens: int | None,
    by: Principal,
) -> None:
    """Set prices (micros of a dollar a million tokens) and the bound of an answer.

    Raises NotPermitted, GatewaySettingInvalid.
    """
    by.require("admin")
    endpoint.input_micros_per_million = input_micros_per_million
    endpoint.output_micros_per_million = output_micros_per_million
    endpoint.max_tokens = max_tokens
    endpoint.update(["input_micros_per_million", "output_micros_per_million", "max_tokens"])
    configuration.touch()
    event = EndpointChanged(
        endpoint=endpoint.slug,
        input_micros_per_million=input_micros_per_million,
        output_micros_per_million=output_micros_per_million,
        max_tokens=max_tokens,
    )
    ledger.record(event, actor=by.actor)


@transaction.atomic
def remove(endpoint: Endpoint, *, by: Principal) -> None:
    """End the use of a model. Raises NotPermitted, EndpointInUse."""
    by.require("admin")
    try:
        endpoint.delete()
    except ProtectedError:
        slugs = ", ".join(endpoint.choices.values_list("route__slug", flat=True))
        raise EndpointInUse(endpoint=endpoint.slug, routes=slugs) from None
    configuration.touch()
    ledger.record(EndpointRemoved(endpoint=endpoint.slug), actor=by.actor)
