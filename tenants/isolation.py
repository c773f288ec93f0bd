"""The only place that moves work into a tenant, and out of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db import connection

from audit.errors import Problem
from tenants.models import Tenant

# django-tenants adds `tenant` and its setters to Django's connection, without types.
_connection: Any = connection


class NoTenant(Problem):
    """This work belongs to a tenant, and no tenant was entered."""

    code = "no_tenant"
    status = 500


@contextlib.contextmanager
def acting_for(tenant: Tenant) -> Iterator[Tenant]:
    """Run the block as `tenant`: its schema in front, and its PostgreSQL role."""
    before = _connection.tenant
    _connection.set_tenant(tenant)
    try:
        yield tenant
    finally:
        _connection.set_tenant(before)


@contextlib.contextmanager
def outside_tenants() -> Iterator[None]:
    """Run the block on the public schema, as the login role."""
    before = _connection.tenant
    _connection.set_schema_to_public()
    try:
        yield
    finally:
        _connection.set_tenant(before)


def entered() -> Tenant | None:
    """The tenant that this connection acts for, or None."""
    tenant = _connection.tenant
    return tenant if isinstance(tenant, Tenant) else None


def current() -> Tenant:
    """The tenant that this connection acts for. Raises NoTenant."""
    tenant = entered()
    if tenant is None:
        raise NoTenant
    return tenant


def enter(tenant: Tenant) -> None:
    """Act for `tenant` from here on: for a request whose key says which tenant is meant."""
    _connection.set_tenant(tenant)


def leave() -> None:
    """Back to the public schema and the login role."""
    _connection.set_schema_to_public()
