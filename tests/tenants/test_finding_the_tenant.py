from __future__ import annotations

from typing import Any

import pytest
from cast import Cast
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpResponse
from django.test import RequestFactory
from raw_sql import role

from tenants import directory, isolation
from tenants.middleware import HostUnknown, TenantOfHost, name_of


def _ask(host: str, path: str = "/", **headers: str) -> HttpResponse:
    """Who the request acted for: a tenant's slug, or `nobody`."""

    def answer(_: object) -> HttpResponse:
        tenant = isolation.entered()
        assert role() == (tenant.role_name if tenant else settings.DATABASES["default"]["USER"])
        return HttpResponse(tenant.slug if tenant else "nobody")

    request = RequestFactory(HTTP_HOST=host).get(path, headers=headers)
    with isolation.outside_tenants():
        answered = TenantOfHost(answer)(request)
        assert isolation.entered() is None
    return answered


@pytest.mark.parametrize(
    "host",
    [
        "acme.localhost",
        "acme.localhost:8000",
        "ACME.LocalHost",
        "acme.localhost.",
        "acme.localhost.:80",
    ],
)
def test_a_host_is_the_same_in_any_spelling(acme: Cast, host: str) -> None:
    assert _ask(host).content == b"acme"


@pytest.mark.parametrize(
    "host", ["nobody.localhost", "x.acme.localhost", "acme.localhost.localhost"]
)
def test_on_an_unknown_host_nothing_is_found(acme: Cast, host: str) -> None:
    answer = _ask(host, "/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/plain")
    with pytest.raises(HostUnknown):
        _ask(host, "/api/v1/me")


def test_health_looks_for_no_tenant(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "of_host", None)
    assert _ask("acme.localhost", "/health").content == b"nobody"


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_the_base_domain_serves_the_api_and_nothing_else(
    acme: Cast, host: str, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "[::1]"]
    assert _ask(host, "/api/v1/me").content == b"nobody"
    assert _ask(host, "/health").content == b"nobody"
    assert _ask(host, "/").status_code == 404


@pytest.mark.parametrize(
    "host",
    [
        "acme.example",
        "acme.localhost@evil.example",
        "acme.localhost/x",
        "acme localhost",
        "[::1",
        "a_b.localhost:x",
    ],
)
def test_a_host_that_is_not_served_or_is_none_is_refused(acme: Cast, host: str) -> None:
    with pytest.raises(DisallowedHost):
        _ask(host)


def test_a_forwarded_host_counts_nothing(acme: Cast, globex: Cast) -> None:
    assert _ask("acme.localhost", **{"X-Forwarded-Host": "globex.localhost"}).content == b"acme"
    answer = _ask("nobody.localhost", **{"X-Forwarded-Host": "acme.localhost"})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Acme.LocalHost:8000", "acme.localhost"),
        ("acme.localhost.:80", "acme.localhost"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("::1", ""),
        ("", ""),
        ("[::1", ""),
        ("acme.localhost:x", ""),
        ("acme.localhost@evil.example", ""),
        ("acme.localhost, globex.localhost", ""),
    ],
)
def test_a_host_header_has_one_name_or_none(host: str, name: str) -> None:
    assert name_of(host) == name


def test_an_error_while_answering_leaves_the_tenant(acme: Cast) -> None:
    def fail(_: object) -> HttpResponse:
        raise ZeroDivisionError

    with isolation.outside_tenants():
        with pytest.raises(ZeroDivisionError):
            TenantOfHost(fail)(RequestFactory(HTTP_HOST="acme.localhost").get("/"))
        assert isolation.entered() is None


def test_a_key_that_entered_a_tenant_on_the_base_domain_leaves_it_with_the_request(
    acme: Cast,
) -> None:
    def enter(_: object) -> HttpResponse:
        isolation.enter(acme.tenant)
        return HttpResponse()

    with isolation.outside_tenants():
        TenantOfHost(enter)(RequestFactory(HTTP_HOST="localhost").get("/api/v1/me"))
        assert isolation.entered() is None
