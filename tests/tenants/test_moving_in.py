from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from cast import Cast
from django.db import connection
from pytest_django import DjangoDbBlocker
from raw_sql import one

from audit import ledger, queries
from governance import policy_sets
from runtime import onboarding
from tenants import directory, isolation
from tenants.directory import TenantInvalid, TenantUnknown
from tenants.keys.models import Key
from tenants.models import Domain, Tenant


class Crashed(BaseException):
    """The process ended here."""


def _crash(*_: object, **__: object) -> None:
    raise Crashed


CRASHES: list[tuple[Any, str]] = [
    (directory, "_reserve"),
    (directory, "_make_schema"),
    (directory, "call_command"),
    (ledger, "open_log"),
    (ledger, "record"),
    (policy_sets, "begin"),
]


@pytest.fixture
def initech(django_db_blocker: DjangoDbBlocker, casts: object) -> Iterator[str]:
    """The slug of a tenant that a test makes with real commits; gone afterwards."""
    with django_db_blocker.unblock():
        yield "initech"
        Domain.objects.filter(domain="initech.localhost").delete()
        one("DELETE FROM tenants_tenant WHERE slug = 'initech'")
        one("DROP SCHEMA IF EXISTS tenant_initech CASCADE")


def _run(work: Callable[[], object], problems: list[Exception]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        except TenantInvalid as problem:
            problems.append(problem)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_tenant_whose_making_crashed_anywhere_is_made_by_calling_again(
    initech: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in CRASHES:
        with monkeypatch.context() as patched:
            patched.setattr(module, name, _crash)
            with pytest.raises(Crashed):
                onboarding.create_tenant(initech, name="Initech", now=now)
        assert directory.of_host("initech.localhost") is None
        with pytest.raises(TenantUnknown):
            directory.of_slug(initech)

    # While somebody makes it, nobody else does.
    begun, go_on, problems = threading.Event(), threading.Event(), list[Exception]()
    real = directory._make_schema

    def slowly(tenant: Tenant) -> None:
        begun.set()
        assert go_on.wait(20)
        real(tenant)

    with monkeypatch.context() as patched:
        patched.setattr(directory, "_make_schema", slowly)
        first = _run(lambda: onboarding.create_tenant(initech, name="Initech", now=now), problems)
        assert begun.wait(20)
        with pytest.raises(TenantInvalid, match="is being made at this moment"):
            directory.create(initech, name="Initech", now=now)
        go_on.set()
        first.join(30)
    assert problems == []
    made = directory.of_host("initech.localhost")
    assert made == directory.of_slug(initech)
    assert made is not None
    with isolation.acting_for(made):
        assert not Key.objects.exists()
        assert {e.kind for e in queries.entries()} == {"policy.activated", "tenant.created"}
    with pytest.raises(TenantInvalid, match="is taken"):
        directory.create(initech, name="Initech", now=now)


@pytest.mark.parametrize(
    "slug",
    ["", "a", "A1", "1a", "-a", "a-", "a--b", "xn--a", "a_b", "a.b", "a b", "ä1", "ab\n", "a" * 31],
)
def test_a_slug_that_is_no_host_name_or_could_meet_another_is_refused(
    db: None, now: datetime, slug: str
) -> None:
    with pytest.raises(TenantInvalid, match="a slug is 2 to 30"):
        directory.create(slug, name="X", now=now)


@pytest.mark.parametrize("slug", ["www", "api", "public", "admin", "localhost", "audit"])
def test_a_reserved_slug_is_refused(db: None, now: datetime, slug: str) -> None:
    with pytest.raises(TenantInvalid, match="is reserved"):
        directory.create(slug, name="X", now=now)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", "a\nb"])
def test_a_name_that_can_not_be_shown_is_refused(db: None, now: datetime, name: str) -> None:
    with pytest.raises(TenantInvalid, match="a name is"):
        directory.create("initech", name=name, now=now)


def test_a_host_that_an_operator_gave_to_another_tenant_is_not_taken_away(
    acme: Cast, now: datetime
) -> None:
    with isolation.outside_tenants():
        Domain.objects.create(tenant=acme.tenant, domain="initech.localhost")
        with pytest.raises(TenantInvalid, match="belongs to another tenant"):
            directory.create("initech", name="Initech", now=now)
        assert not Tenant.objects.filter(slug="initech").exists()


def test_role_names_fit_into_postgresql_and_stay_apart() -> None:
    schema = f"tenant_{'a' * 30}"
    names = {
        directory.role_for(schema, database=name)
        for name in ("countersign", "d" * 40 + "1", "d" * 40 + "2", "ö" * 20)
    }
    assert len(names) == 4
    assert all(len(name.encode()) <= 63 for name in names)
    assert directory.role_for("tenant_acme", database="countersign") == "countersign_tenant_acme"
