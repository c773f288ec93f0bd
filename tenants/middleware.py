"""The only place that reads a request's host name, and finds the tenant that it means."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotFound
from django.http.request import split_domain_port

from audit.errors import Problem
from tenants import directory, isolation

# Beside the base domain itself.
BASE_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
API = "/api/"
# Asked without looking for a tenant: it must answer also where the database does not.
HEALTH = "/health"


class HostUnknown(Problem, Http404):
    """There is no tenant at this address."""

    code = "host_unknown"
    status = 404


def name_of(host: str) -> str:
    """The name or address in a Host header (RFC 9110, 7.2); an empty text for a malformed one.

    In lower case, without port, trailing dot and the brackets of an IPv6 address.
    """
    name, _ = split_domain_port(host)
    return name.removeprefix("[").removesuffix("]")


def is_base(name: str) -> bool:
    """Whether this name is the installation's own, at which a key says which tenant is meant."""
    return name in BASE_HOSTS or name == settings.BASE_DOMAIN


class TenantOfHost:
    """Enters the tenant whose domain the request names; on an unknown host nothing is found.

    There a browser gets a plain page, and the API's clients get HostUnknown as they read problems.
    The API may also be called on the base domain: then the key says which tenant is meant.
    Only the Host header counts, whatever its case, port or trailing dot; X-Forwarded-Host never.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        host = name_of(request.get_host())
        isolation.leave()
        if request.path == HEALTH:
            return self.get_response(request)
        tenant = directory.of_host(host)
        if tenant is not None:
            with isolation.acting_for(tenant):
                return self.get_response(request)
        if not request.path.startswith(API):
            return HttpResponseNotFound(str(HostUnknown()), content_type="text/plain")
        if not is_base(host):
            raise HostUnknown  # Django's handler of Http404 answers
        try:
            return self.get_response(request)
        finally:
            isolation.leave()
