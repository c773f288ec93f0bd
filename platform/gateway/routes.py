"""The only place that adds, changes and removes routes: the names that clients ask for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from audit import ledger
from gateway.events import RouteAdded, RouteChanged, RouteRemoved
from gateway.models import Choice, Endpoint, GatewaySettingInvalid, Purpose, Route
from tenants import configuration
from tenants.principals import Principal

MOST_ENDPOINTS = 8


@transaction.atomic
def add(
    slug: str, *, purpose: str, endpoints: Sequence[Endpoint], by: Principal, now: datetime
) -> Route:
    """Offer a name that is served by `endpoints`, the first one first.

    Raises NotPermitted, GatewaySettingInvalid, GatewaySlugTaken.
    """
    by.require("admin")
    route = Route(slug=slug, purpose=purpose, created_at=now)
    _check_endpoints(route, endpoints)
    route.insert()
    _place(route, endpoints)
    configuration.touch()
    event = RouteAdded(route=slug, purpose=purpose, endpoints=[e.slug for e in endpoints])
    ledger.record(event, actor=by.actor)
    return route


@transaction.atomic
def change(route: Route, *, endpoints: Sequence[Endpoint], by: Principal) -> None:
    """Serve a route by other endpoints, or in another order.

    Raises NotPermitted, GatewaySettingInvalid.
    """
    by.require("admin")
    _check_endpoints(route, endpoints)
    Route.objects.select_for_update().get(pk=route.pk)
    before = list(route.choices.values_list("endpoint__slug", flat=True))
    route.choices.all().delete()
    _place(route, endpoints)
    configuration.touch()
    event = RouteChanged(
        route=route.slug, endpoints_before=before, endpoints=[e.slug for e in endpoints]
    )
    ledger.record(event, actor=by.actor)


@transaction.atomic
def remove(route: Route, *, by: Principal) -> None:
    """Stop offering a name. Raises NotPermitted."""
    by.require("admin")
    route.delete()
    configuration.touch()
    ledger.record(RouteRemoved(route=route.slug), actor=by.actor)


def _place(route: Route, endpoints: Sequence[Endpoint]) -> None:
    Choice.objects.bulk_create(
        Choice(route=route, endpoint=endpoint, position=position)
        for position, endpoint in enumerate(endpoints)
    )


def _check_endpoints(route: Route, endpoints: Sequence[Endpoint]) -> None:
    if not 1 <= len({e.pk for e in endpoints}) == len(endpoints) <= MOST_ENDPOINTS:
        _refuse(f"1 to {MOST_ENDPOINTS} different ones")
    if any(e.purpose != route.purpose for e in endpoints):
        _refuse(f"each must be for {route.purpose}")
    # Vectors of two models are never comparable, so one model must not stand in for another.
    models = {(e.model, e.dimensions) for e in endpoints}
    if route.purpose == Purpose.EMBEDDINGS and len(models) > 1:
        _refuse("of an embeddings route they must have the same model and dimensions")


def _refuse(reason: str) -> None:
    raise GatewaySettingInvalid(noun="route", reason=f"endpoints: {reason}")
