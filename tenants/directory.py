"""The only place where tenants come into being and are found."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import sha256

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
# A label of a host name, without the `--` of punycode. No `_`: no two slugs make the same schema.
SLUG = re.compile(r"(?=.{2,30}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Hosts that an operator may want beside the tenants', or that people would take for the product's.
RESERVED = frozenset(
    {"admin", "api", "app", "assets", "audit", "auth", "cdn", "console", "countersign", "docs"}
    | {"health", "localhost", "login", "mail", "metrics", "public", "root", "sso", "static"}
    | {"status", "v1", "www"}
)
LONGEST_ROLE_NAME = 63  # bytes; PostgreSQL cuts longer names, so that two could become one


class TenantInvalid(Problem):
    """The tenant can't be made: {reason}"""

    code = "tenant_invalid"
    status = 422


class TenantTaken(TenantInvalid):
    """The tenant can't be made: the slug {tenant} is taken."""

    code = "tenant_taken"
    status = 409


class TenantUnknown(Problem):
    """There is no tenant {tenant}."""

    code = "tenant_unknown"
    status = 404


def create(
    slug: str, *, name: str, now: datetime, furnish: Callable[[], object] | None = None
) -> Tenant:
    """A tenant with its domain, role, schema and ledger; the higher floors `furnish` it.

    1. The rows are committed. 2. The role and the schema are made, and the schema migrated. 3. The
    ledger is opened, the first entry recorded, the tenant furnished and `ready_at` set: one commit.
    Nobody finds the tenant before.
    Called again after a crash, it goes on where it was; of two at the same time, one is refused.
    Raises TenantInvalid: malformed, reserved or being made, and its kind TenantTaken.
    """
    _check(slug, name)
    with isolation.outside_tenants(), _alone(slug):
        tenant = _reserve(slug, name, now)
        _make_schema(tenant)
        call_command(
            "migrate_schemas", schema_name=tenant.schema_name, interactive=False, verbosity=0
        )
        with transaction.atomic():
            ledger.open_log(role=tenant.role_name, origin=f"{settings.BASE_DOMAIN}/{slug}")
            Tenant.objects.filter(pk=tenant.pk).update(ready_at=now)
            with isolation.acting_for(tenant):
                ledger.record(TenantCreated(tenant=slug, name=tenant.name), actor=SYSTEM)
                if furnish is not None:
                    furnish()
    tenant.refresh_from_db()
    return tenant


def _check(slug: str, name: str) -> None:
    if not SLUG.fullmatch(slug):
        raise TenantInvalid(
            reason="a slug is 2 to 30 lower-case letters, digits and single hyphens between them,"
            " a letter first"
        )
    if slug in RESERVED:
        raise TenantInvalid(reason=f"the slug {slug} is reserved")
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise TenantInvalid(reason="a name is 1 to 200 printable characters")


@contextlib.contextmanager
def _alone(slug: str) -> Iterator[None]:
    """Hold a lock on the making of this tenant. Raises TenantInvalid where somebody else has it.

    It is PostgreSQL's, so it ends with this process; on a connection of its own, since migrating
    closes Django's.
    """
    lock = connection.copy()
    key = [f"countersign: making the tenant {slug}"]
    try:
        with lock.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", key)
            if cursor.fetchone() != (True,):
                raise TenantInvalid(reason=f"the tenant {slug} is being made at this moment")
            try:
                yield
            finally:
                # Closing is not enough: a pool keeps the session.
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)
    finally:
        lock.close()


def _reserve(slug: str, name: str, now: datetime) -> Tenant:
    schema = f"tenant_{slug.replace('-', '_')}"
    role = role_for(schema, database=connection.settings_dict["NAME"])
    tenant: Tenant
    with transaction.atomic():
        tenant, created = Tenant.objects.get_or_create(
            slug=slug,
            defaults={"name": name, "schema_name": schema, "role_name": role, "created_at": now},
        )
        if not created and tenant.ready_at:
            raise TenantTaken(tenant=slug)
        domain, _ = Domain.objects.get_or_create(
            domain=f"{slug}.{settings.BASE_DOMAIN}", defaults={"tenant": tenant}
        )
        if domain.tenant_id != tenant.pk:
            raise TenantInvalid(reason=f"the host {domain} belongs to another tenant")
    return tenant


def role_for(schema: str, *, database: str) -> str:
    """The name of a tenant's PostgreSQL role, at most 63 bytes.

    Roles belong to the whole cluster, so it holds the database's name, or its hash where that name
    is too long.
    """
    whole = f"{database}_{schema}"
    if len(whole.encode()) <= LONGEST_ROLE_NAME:
        return whole
    return f"{sha256(database.encode()).hexdigest()[:16]}_{schema}"


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
