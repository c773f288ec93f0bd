"""The only place for the people of the tests: two tenants, their members and their keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import committed
import msgspec
import pytest
from django.contrib.auth.hashers import ScryptPasswordHasher
from pytest_django import DjangoDbBlocker

from audit.events import SYSTEM
from governance import policy_sets
from tenants import directory, isolation, members
from tenants.models import Tenant
from tenants.principals import Principal

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PASSWORD = "a long enough passphrase"
# Hashes say how much work they took: a web server in another process checks these as well.
ScryptPasswordHasher.work_factor = 2


class Cast(msgspec.Struct, frozen=True):
    """One tenant's people."""

    tenant: Tenant
    people: dict[str, Principal]

    def __getattr__(self, name: str) -> Principal:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None


ROBO = Principal(kind="client_app", id="0" * 16, name="Robo", tenant="acme")
PEOPLE = {
    "acme": {"alice": ["admin"], "bob": ["reviewer"], "carol": ["auditor"], "dave": ["builder"]},
    "globex": {"mallory": ["admin"], "grace": ["reviewer"], "heidi": ["auditor"]},
}


def _furnish(slug: str) -> Cast:
    tenant = directory.create(slug, name=slug.capitalize(), now=NOON)
    people = {"robo": ROBO} if slug == "acme" else {}
    with isolation.acting_for(tenant):
        policy_sets.begin(NOON)
        for name, roles in PEOPLE[slug].items():
            membership = members.add(
                f"{name}@{slug}.test",
                name=name.capitalize(),
                password=PASSWORD,
                roles=roles,
                actor=SYSTEM,
                now=NOON,
            )
            member = members.principal_of(membership.user_id)
            assert member is not None
            people[name] = member
    return Cast(tenant, people)


@pytest.fixture(scope="session")
def casts(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[str, Cast]:
    """Both tenants, made once a session and committed: bare but for the default policies."""
    with django_db_blocker.unblock():
        made = {slug: _furnish(slug) for slug in PEOPLE}
        committed.keep("bare", made["acme"].tenant)
        return made


@pytest.fixture
def now() -> datetime:
    """The moment at which a test happens."""
    return NOON


@pytest.fixture
def globex(casts: dict[str, Cast], db: None) -> Cast:
    """Mallory's tenant. The connection does not act for it: enter it with isolation.acting_for."""
    return casts["globex"]


@pytest.fixture
def acme(casts: dict[str, Cast], db: None) -> Iterator[Cast]:
    """Alice's tenant; the test runs inside it and is rolled back."""
    with isolation.acting_for(casts["acme"].tenant):
        yield casts["acme"]


@pytest.fixture
def committed_acme(casts: dict[str, Cast], django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    """Alice's tenant, with real commits (other connections see them); bare afterwards."""
    with django_db_blocker.unblock():
        tenant = casts["acme"].tenant
        try:
            with isolation.acting_for(tenant):
                yield casts["acme"]
        finally:
            committed.put_back("bare", tenant)
