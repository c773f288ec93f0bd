"""The only place that reads providers, endpoints and routes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from django.db.models import QuerySet

from audit.errors import Problem
from gateway.models import Choice, Endpoint, Provider, Route
from gateway.specs import EndpointSpec, Purpose, RouteSpec
from tenants import encryption, isolation
from tenants.principals import Principal

READERS = ("admin", "builder")


class ProviderUnknown(Problem):
    """There is no provider {provider}."""

    code = "provider_unknown"
    status = 404


class EndpointUnknown(Problem):
    """There is no endpoint {endpoint}."""

    code = "endpoint_unknown"
    status = 404


class RouteUnknown(Problem):
    """There is no route {route}."""

    code = "route_unknown"
    status = 404


def access_provider(slug: str, *, principal: Principal) -> Provider:
    """Return a provider to an admin or a builder. Raises ProviderUnknown."""
    provider = Provider.objects.filter(slug=slug).first() if principal.has(*READERS) else None
    if provider is None:
        raise ProviderUnknown(provider=slug)
    return provider


def access_endpoint(slug: str, *, principal: Principal) -> Endpoint:
    """Return an endpoint to an admin or a builder. Raises EndpointUnknown."""
    endpoint = endpoints().filter(slug=slug).first() if principal.has(*READERS) else None
    if endpoint is None:
        raise EndpointUnknown(endpoint=slug)
    return endpoint


def access_route(slug: str, *, principal: Principal) -> Route:
    """Return a route to an admin or a builder. Raises RouteUnknown."""
    route = routes().filter(slug=slug).first() if principal.has(*READERS) else None
    if route is None:
        raise RouteUnknown(route=slug)
    return route


def providers() -> QuerySet[Provider]:
    """Return the tenant's providers by slug, without their keys."""
    return Provider.objects.defer("sealed_api_key").order_by("slug")


def endpoints() -> QuerySet[Endpoint]:
    """Return the tenant's endpoints by slug, with their providers."""
    return Endpoint.objects.select_related("provider").order_by("slug")


def routes() -> QuerySet[Route]:
    """Return the tenant's routes by slug, with their choices and endpoints."""
    return Route.objects.prefetch_related("choices__endpoint").order_by("slug")


def route_spec(slug: str) -> RouteSpec:
    """Return what the async path needs of a route. Raises RouteUnknown."""
    choices = list(_choices().filter(route__slug=slug))
    if not choices:
        raise RouteUnknown(route=slug)
    return _route_spec(choices)


def route_specs() -> dict[str, RouteSpec]:
    """Return all routes of the tenant by slug, in one query: for a snapshot."""
    by_route = groupby(_choices(), key=lambda choice: choice.route.slug)
    return {slug: _route_spec(list(choices)) for slug, choices in by_route}


def _choices() -> QuerySet[Choice]:
    chosen = Choice.objects.select_related("route", "endpoint__provider")
    return chosen.order_by("route__slug", "position")


def _route_spec(choices: list[Choice]) -> RouteSpec:
    return RouteSpec(
        tenant=isolation.current().slug,
        slug=choices[0].route.slug,
        purpose=_purpose(choices[0].route.purpose),
        endpoints=tuple(_endpoint_specs(choice.endpoint for choice in choices)),
    )


def _endpoint_specs(rows: Iterable[Endpoint]) -> Iterable[EndpointSpec]:
    for row in rows:
        sealed = row.provider.sealed_api_key
        yield EndpointSpec(
            slug=row.slug,
            provider=row.provider.slug,
            kind=row.provider.kind,
            base_url=row.provider.base_url,
            api_key=encryption.Secret(encryption.open(sealed)) if sealed else None,
            timeout_seconds=row.provider.timeout_seconds,
            model=row.model,
            purpose=_purpose(row.purpose),
            input_micros_per_million=row.input_micros_per_million,
            output_micros_per_million=row.output_micros_per_million,
            dimensions=row.dimensions,
            max_tokens=row.max_tokens,
        )


def _purpose(value: str) -> Purpose:
    return "embeddings" if value == "embeddings" else "chat"
