"""The only place for what a route is made of, and who may read it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from cast import Cast
from model_rows import KEY, add_vectors

from gateway import endpoints, queries, routes
from gateway.models import Endpoint, GatewaySettingInvalid, Provider, Route
from gateway.queries import EndpointUnknown, ProviderUnknown, RouteUnknown
from tenants import isolation

Made = Callable[..., Any]


def test_a_route_keeps_the_order_of_its_endpoints(
    acme: Cast, provider: Provider, endpoint: Endpoint, route: Route, now: datetime
) -> None:
    spare = endpoints.add(
        "a-spare", provider=provider, model="m", purpose="chat", by=acme.alice, now=now
    )
    routes.change(route, endpoints=[endpoint, spare], by=acme.alice)
    assert [e.slug for e in queries.route_spec("fast").endpoints] == ["small", "a-spare"]
    routes.change(route, endpoints=[spare, endpoint], by=acme.alice)
    assert [e.slug for e in queries.route_spec("fast").endpoints] == ["a-spare", "small"]


def test_a_route_needs_endpoints_of_its_own_purpose(
    acme: Cast, endpoint: Endpoint, vector_endpoint: Endpoint, now: datetime
) -> None:
    for wrong in ([], [endpoint, endpoint], [vector_endpoint], [endpoint, vector_endpoint]):
        with pytest.raises(GatewaySettingInvalid, match="endpoints"):
            routes.add("x", purpose="chat", endpoints=wrong, by=acme.alice, now=now)


@pytest.mark.parametrize("other", [{"model": "other"}, {"dimensions": 512}])
def test_one_embedding_model_never_stands_in_for_another(
    acme: Cast, provider: Provider, vector_endpoint: Endpoint, now: datetime, other: dict[str, Any]
) -> None:
    strange = add_vectors("vec-b", provider, acme, now, **other)
    pair = [vector_endpoint, strange]
    with pytest.raises(GatewaySettingInvalid, match="same model"):
        routes.add("vectors", purpose="embeddings", endpoints=pair, by=acme.alice, now=now)


def test_the_same_embedding_model_at_two_places_may_serve_one_route(
    acme: Cast, provider: Provider, vector_endpoint: Endpoint, now: datetime
) -> None:
    twin = add_vectors("vec-b", provider, acme, now)
    pair = [vector_endpoint, twin]
    routes.add("vectors", purpose="embeddings", endpoints=pair, by=acme.alice, now=now)
    assert len(queries.route_spec("vectors").endpoints) == 2


def test_a_spec_holds_all_that_a_call_needs_and_shows_no_key(acme: Cast, route: Route) -> None:
    spec = queries.route_spec("fast")
    (endpoint,) = spec.endpoints
    assert (spec.tenant, spec.purpose) == ("acme", "chat")
    assert (endpoint.kind, endpoint.base_url) == ("openai", "https://api.example.com/v1")
    assert endpoint.api_key is not None
    assert endpoint.api_key.reveal() == KEY
    assert KEY not in repr(spec)


def test_a_snapshot_reads_all_routes_at_once(
    acme: Cast,
    route: Route,
    vector_endpoint: Endpoint,
    now: datetime,
    django_assert_num_queries: Made,
) -> None:
    routes.add("vectors", purpose="embeddings", endpoints=[vector_endpoint], by=acme.alice, now=now)
    with django_assert_num_queries(1):
        specs = queries.route_specs()
    assert specs == {slug: queries.route_spec(slug) for slug in ("fast", "vectors")}


def test_the_list_for_clients_names_routes_and_their_age(
    acme: Cast, route: Route, now: datetime
) -> None:
    assert [(r.slug, r.purpose, r.created_at) for r in queries.routes()] == [("fast", "chat", now)]


def test_missing_and_forbidden_answer_alike(
    acme: Cast, provider: Provider, endpoint: Endpoint, route: Route
) -> None:
    for access, slug, problem in (
        (queries.access_provider, "openai-eu", ProviderUnknown),
        (queries.access_endpoint, "small", EndpointUnknown),
        (queries.access_route, "fast", RouteUnknown),
    ):
        assert access(slug, principal=acme.dave).slug == slug
        with pytest.raises(problem):
            access(slug, principal=acme.bob)
        with pytest.raises(problem):
            access("missing", principal=acme.alice)


def test_mallory_reaches_nothing_of_acme(acme: Cast, globex: Cast, route: Route) -> None:
    with isolation.acting_for(globex.tenant):
        assert queries.route_specs() == {}
        with pytest.raises(RouteUnknown):
            queries.route_spec("fast")
        with pytest.raises(ProviderUnknown):
            queries.access_provider("openai-eu", principal=globex.mallory)
