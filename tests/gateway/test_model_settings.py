"""The only place for who may say which models a tenant asks, and what is kept of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from cast import Cast
from django.db import connection
from model_rows import KEY

from audit.models import Entry
from gateway import accounts, endpoints, queries, routes
from gateway.accounts import ApiKeyNeeded, ProviderInUse
from gateway.endpoints import EndpointInUse
from gateway.models import (
    Choice,
    Endpoint,
    GatewaySettingInvalid,
    GatewaySlugTaken,
    Provider,
    Route,
)
from tenants.outgoing import AddressRefused
from tenants.principals import NotPermitted


def kinds_recorded() -> list[str]:
    return list(Entry.objects.order_by("id").values_list("kind", flat=True))


def everything_recorded() -> bytes:
    return b"".join(bytes(e) for e in Entry.objects.values_list("payload", flat=True))


def version(acme: Cast) -> int:
    acme.tenant.refresh_from_db()
    return acme.tenant.configuration_version


def test_an_admin_connects_a_provider_and_the_key_is_sealed(acme: Cast, provider: Provider) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT gateway_provider::text FROM gateway_provider")
        (row,) = cursor.fetchone()
    assert KEY not in row
    assert KEY.encode() not in bytes(provider.sealed_api_key or b"")
    assert provider.api_key_ending == KEY[-4:]


def test_of_a_short_key_not_even_the_end_is_shown(acme: Cast, now: datetime) -> None:
    made = accounts.add("short", kind="openai", api_key="sk-123", by=acme.alice, now=now)
    assert made.api_key_ending == ""


def test_what_is_recorded_of_a_provider_holds_no_part_of_its_key(
    acme: Cast, provider: Provider
) -> None:
    accounts.change(provider, api_key=KEY[::-1], by=acme.alice)
    assert kinds_recorded()[-2:] == ["provider.added", "provider.changed"]
    assert not any(part.encode() in everything_recorded() for part in (KEY, KEY[::-1], KEY[-4:]))


def test_each_change_makes_the_data_plane_look_again(
    acme: Cast, provider: Provider, endpoint: Endpoint, route: Route
) -> None:
    before = version(acme)
    accounts.change(provider, timeout_seconds=9, by=acme.alice)
    routes.change(route, endpoints=[endpoint], by=acme.alice)
    assert version(acme) == before + 2


def test_a_change_of_nothing_records_nothing(acme: Cast, provider: Provider) -> None:
    before = len(kinds_recorded())
    accounts.change(provider, base_url=provider.base_url, by=acme.alice)
    assert len(kinds_recorded()) == before


@pytest.mark.parametrize("name", ["bob", "carol", "dave"])
def test_only_an_admin_changes_which_models_are_asked(
    acme: Cast, route: Route, now: datetime, name: str
) -> None:
    endpoint = Endpoint.objects.get()
    provider = endpoint.provider
    by = acme.people[name]
    for attempt in (
        lambda: accounts.add("x", kind="openai", by=by, now=now),
        lambda: accounts.change(provider, timeout_seconds=1, by=by),
        lambda: accounts.remove(provider, by=by),
        lambda: endpoints.add("x", provider=provider, model="m", purpose="chat", by=by, now=now),
        lambda: endpoints.change(
            endpoint,
            input_micros_per_million=0,
            output_micros_per_million=0,
            max_tokens=None,
            by=by,
        ),
        lambda: endpoints.remove(endpoint, by=by),
        lambda: routes.add("x", purpose="chat", endpoints=[endpoint], by=by, now=now),
        lambda: routes.change(route, endpoints=[endpoint], by=by),
        lambda: routes.remove(route, by=by),
    ):
        with pytest.raises(NotPermitted):
            attempt()


@pytest.mark.parametrize(
    "wrong",
    [
        {"slug": "Upper"},
        {"slug": ""},
        {"slug": "agent:x"},
        {"slug": "x" * 64},
        {"kind": "protocol"},
        {"kind": "../x"},
        {"base_url": "https://api.example.com/v1?key=abc"},
        {"base_url": "https://api.example.com/v1#x"},
        {"api_key": "sk-1\r\nHost: evil"},
        {"api_key": "sk with spaces"},
        {"api_key": "x" * 2_000},
        {"timeout_seconds": 0},
        {"timeout_seconds": 601},
    ],
)
def test_a_provider_that_is_not_valid_is_not_stored(
    acme: Cast, now: datetime, wrong: dict[str, Any]
) -> None:
    fields: dict[str, Any] = {"slug": "fine", "kind": "openai", **wrong}
    with pytest.raises(GatewaySettingInvalid) as told:
        accounts.add(**fields, by=acme.alice, now=now)
    assert "sk" not in str(told.value)
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/v1", "http://169.254.169.254", "ftp://a.example"]
)
def test_a_provider_at_a_private_address_is_not_stored(
    acme: Cast, provider: Provider, now: datetime, url: str
) -> None:
    with pytest.raises(AddressRefused):
        accounts.add("local", kind="openai", base_url=url, by=acme.alice, now=now)
    with pytest.raises(AddressRefused):
        accounts.change(provider, base_url=url, api_key="", by=acme.alice)


def test_a_stored_key_does_not_follow_to_a_new_address(acme: Cast, provider: Provider) -> None:
    with pytest.raises(ApiKeyNeeded):
        accounts.change(provider, base_url="https://mallory.example/v1", by=acme.alice)
    provider.refresh_from_db()
    assert provider.base_url == "https://api.example.com/v1"


def test_a_key_can_be_deleted(acme: Cast, provider: Provider) -> None:
    accounts.change(provider, api_key="", by=acme.alice)
    provider.refresh_from_db()
    assert (provider.sealed_api_key, provider.api_key_ending) == (None, "")


def test_a_slug_is_taken_once(
    acme: Cast, provider: Provider, endpoint: Endpoint, route: Route, now: datetime
) -> None:
    with pytest.raises(GatewaySlugTaken, match="provider"):
        accounts.add(provider.slug, kind="openai", by=acme.alice, now=now)
    with pytest.raises(GatewaySlugTaken, match="route"):
        routes.add(route.slug, purpose="chat", endpoints=[endpoint], by=acme.alice, now=now)


@pytest.mark.parametrize(
    "wrong",
    [
        {"purpose": "poetry"},
        {"model": ""},
        {"input_micros_per_million": -1},
        {"output_micros_per_million": 10**13},
        {"dimensions": 0},
        {"max_tokens": 0},
    ],
)
def test_an_endpoint_that_is_not_valid_is_not_stored(
    acme: Cast, provider: Provider, now: datetime, wrong: dict[str, Any]
) -> None:
    fields: dict[str, Any] = {"model": "m", "purpose": "chat", **wrong}
    with pytest.raises(GatewaySettingInvalid):
        endpoints.add("x", provider=provider, **fields, by=acme.alice, now=now)


def test_a_new_price_is_recorded_and_used(acme: Cast, endpoint: Endpoint, route: Route) -> None:
    endpoints.change(
        endpoint,
        input_micros_per_million=1,
        output_micros_per_million=2,
        max_tokens=50,
        by=acme.alice,
    )
    (spec,) = queries.route_spec("fast").endpoints
    assert (spec.input_micros_per_million, spec.max_tokens) == (1, 50)
    assert kinds_recorded()[-1] == "endpoint.changed"


def test_what_is_in_use_is_not_removed(
    acme: Cast, provider: Provider, endpoint: Endpoint, route: Route
) -> None:
    with pytest.raises(ProviderInUse, match="small"):
        accounts.remove(provider, by=acme.alice)
    with pytest.raises(EndpointInUse, match="fast"):
        endpoints.remove(endpoint, by=acme.alice)
    routes.remove(route, by=acme.alice)
    endpoints.remove(endpoint, by=acme.alice)
    accounts.remove(provider, by=acme.alice)
    assert kinds_recorded()[-3:] == ["route.removed", "endpoint.removed", "provider.removed"]
    assert not Choice.objects.exists()
