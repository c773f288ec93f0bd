"""The only place where tenants come into being and are found."""

from __future__ import annotations

import re
from datetime import datetime

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from psycopg import sql

from audit import ledger
from audit.errors import Problem
from audit.events import SYSTEM
from tenants import isolation
from tenants.events import TenantCreated
from tenants.models import Domain, Tenant

# The schema belongs to the login role: a tenant's role may use its rows, not change its shape.
PRIVILEGES = (
    "GRANT {role} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE",
    "CREATE SCHEMA IF NOT EXISTS {schema}",
    "GRANT USAGE ON SCHEMA {schema}, public TO {role}",
    "GRANT SELECT ON public.django_content_type TO {role}",
    "GRANT SELECT ON public.tenants_tenant, public.tenants_domain TO {role}",
    "GRANT SELECT ON public.tenants_user, public.tenants_membership TO {role}",
    "GRANT UPDATE (configuration_version) ON public.tenants_tenant TO {role}",
    "GRANT UPDATE (last_login) ON public.tenants_user TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT INSERT, UPDATE, DELETE ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role}",
)
SLUG = re.compile(r"[a-z][a-z0-9-]{1,29}")


class TenantInvalid(Problem):
    """The tenant can't be made: {reason}"""

    code = "tenant_invalid"
    status = 422


class TenantUnknown(Problem):
    """There is no tenant {tenant}."""

    code = "tenant_unknown"
    status = 404


def create(slug: str, *, name: str, now: datetime) -> Tenant:
    """A tenant with its domain, role, schema and ledger; the higher floors furnish it.

    1. The rows and the role are committed. 2. The schema is made and migrated. 3. The ledger is
    opened, the first entry recorded and `ready_at` set. Called again after a crash, it goes on
    where it was. Raises TenantInvalid for a slug that is malformed or taken.
    """
    if not SLUG.fullmatch(slug):
        raise TenantInvalid(
            reason="a slug is 2 to 30 lower-case letters, digits and hyphens, a letter first"
        )
    with isolation.outside_tenants():
        tenant = _reserve(slug, name, now)
        _make_schema(tenant)
        call_command(
            "migrate_schemas", schema_name=tenant.schema_name, interactive=False, verbosity=0
        )
        with transaction.atomic():
            ledger.open_log(role=tenant.role_name, origin=f"{settings.BASE_DOMAIN}/{slug}")
            Tenant.objects.filter(pk=tenant.pk).update(ready_at=now)
            with isolation.acting_for(tenant):
                ledger.record(TenantCreated(tenant=slug, name=name), actor=SYSTEM)
    tenant.refresh_from_db()
    return tenant


def _reserve(slug: str, name: str, now: datetime) -> Tenant:
    schema = f"tenant_{slug.replace('-', '_')}"
    role = f"{connection.settings_dict['NAME']}_{schema}"
    tenant: Tenant
    with transaction.atomic():
        tenant, created = Tenant.objects.get_or_create(
            slug=slug,
            defaults={"name": name, "schema_name": schema, "role_name": role, "created_at": now},
        )
        if not created and tenant.ready_at:
            raise TenantInvalid(reason=f"the slug {slug} is taken")
        Domain.objects.get_or_create(
            domain=f"{slug}.{settings.BASE_DOMAIN}", defaults={"tenant": tenant}
        )
    return tenant


def _make_schema(tenant: Tenant) -> None:
    names = {"schema": sql.Identifier(tenant.schema_name), "role": sql.Identifier(tenant.role_name)}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [tenant.role_name])
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("CREATE ROLE {role} NOLOGIN").format(**names))
        for statement in PRIVILEGES:
            cursor.execute(sql.SQL(statement).format(**names))


def of_host(host: str) -> Tenant | None:
    """The tenant with this domain, or None."""
    domain = (
        Domain.objects.select_related("tenant")
        .filter(domain=host, tenant__ready_at__isnull=False)
        .first()
    )
    found: Tenant | None = domain.tenant if domain else None
    return found


def of_slug(slug: str) -> Tenant:
    """The tenant with this slug. Raises TenantUnknown."""
    with isolation.outside_tenants():
        tenant: Tenant | None = Tenant.objects.filter(slug=slug, ready_at__isnull=False).first()
    if tenant is None:
        raise TenantUnknown(tenant=slug)
    return tenant


def everyone() -> list[Tenant]:
    """All tenants that are ready, by slug."""
    with isolation.outside_tenants():
        return list(Tenant.objects.filter(ready_at__isnull=False).order_by("slug"))
