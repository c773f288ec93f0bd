"""The only place that finds the tenant of a request's host name."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.http.request import split_domain_port

from tenants import directory, isolation

# Beside the base domain itself.
BASE_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
WITHOUT_TENANT = ("/api/", "/health")


class TenantOfHost:
    """Enters the tenant whose domain the request names; unknown hosts get a plain 404.

    The API may also be called on the base domain: then the key says which tenant is meant.
    Only the Host header counts, whatever its case, port or trailing dot; X-Forwarded-Host never.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        host, _ = split_domain_port(request.get_host())
        isolation.leave()
        tenant = directory.of_host(host)
        if tenant is not None:
            with isolation.acting_for(tenant):
                return self.get_response(request)
        if host in BASE_HOSTS | {settings.BASE_DOMAIN} and request.path.startswith(WITHOUT_TENANT):
            try:
                return self.get_response(request)
            finally:
                isolation.leave()
        return HttpResponseNotFound(
            "There is no tenant at this address.", content_type="text/plain"
        )
