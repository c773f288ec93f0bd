"""The only place that moves work into a tenant, and out of it.

A move is a property of this thread's connection, so none is made from asyncio: there the ORM works
in other threads, whose connections know nothing of it. What exactly is enforced is said where the
connection takes the tenant on (tenants.postgresql.base).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.utils.asyncio import async_unsafe

from audit.errors import Problem
from tenants.models import Tenant

# django-tenants adds `tenant` and its setters to Django's connection, without types.
_connection: Any = connection


class NoTenant(Problem):
    """This work belongs to a tenant, and no tenant was entered."""

    code = "no_tenant"
    status = 500


@async_unsafe
@contextlib.contextmanager
def acting_for(tenant: Tenant) -> Iterator[Tenant]:
    """Run the block as `tenant`: its schema in front, and its PostgreSQL role."""
    entered = _of_this_thread()
    before = entered.tenant
    entered.set_tenant(tenant)
    try:
        yield tenant
    finally:
        entered.set_tenant(before)


@async_unsafe
@contextlib.contextmanager
def outside_tenants() -> Iterator[None]:
    """Run the block on the public schema, as the login role."""
    left = _of_this_thread()
    before = left.tenant
    left.set_schema_to_public()
    try:
        yield
    finally:
        left.set_tenant(before)


def _of_this_thread() -> Any:
    # Not the proxy: a block that ends in another thread gives back the connection that it took.
    return connections[DEFAULT_DB_ALIAS]


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


@async_unsafe
def enter(tenant: Tenant) -> None:
    """Act for `tenant` from here on: for a request whose key says which tenant is meant."""
    _connection.set_tenant(tenant)


@async_unsafe
def leave() -> None:
    """Back to the public schema and the login role."""
    _connection.set_schema_to_public()
