"""The only place that moves work into a tenant, and out of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db import connection

from audit.errors import Problem
from tenants.models import Tenant


class NoTenant(Problem):
    """This work belongs to a tenant, and no tenant was entered."""

    code = "no_tenant"
    status = 500


@contextlib.contextmanager
def acting_for(tenant: Tenant) -> Iterator[Tenant]:
    """Run the block as `tenant`: its schema in front, and its PostgreSQL role."""
    before = connection.tenant
    connection.set_tenant(tenant)
    try:
        yield tenant
    finally:
        connection.set_tenant(before)


@contextlib.contextmanager
def outside_tenants() -> Iterator[None]:
    """Run the block on the public schema, as the login role."""
    before = connection.tenant
    connection.set_schema_to_public()
    try:
        yield
    finally:
        connection.set_tenant(before)


def current() -> Tenant:
    """The tenant that this connection acts for. Raises NoTenant."""
    if not isinstance(connection.tenant, Tenant):
        raise NoTenant
    return connection.tenant
