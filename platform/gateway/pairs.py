"""The only place that says which entries tell of providers, endpoints and routes."""

from __future__ import annotations

from audit.reconciling import Pair, key
from gateway import events
from gateway.models import Endpoint, Provider, Route

PAIRS = (
    Pair(
        name="providers",
        rows=lambda: Provider.objects.values_list(key("slug")),
        begin=(events.ProviderAdded.kind,),
        by=("provider",),
        end=(events.ProviderRemoved.kind,),
    ),
    Pair(
        name="endpoints",
        rows=lambda: Endpoint.objects.values_list(key("slug")),
        begin=(events.EndpointAdded.kind,),
        by=("endpoint",),
        end=(events.EndpointRemoved.kind,),
    ),
    Pair(
        name="routes",
        rows=lambda: Route.objects.values_list(key("slug")),
        begin=(events.RouteAdded.kind,),
        by=("route",),
        end=(events.RouteRemoved.kind,),
    ),
)
