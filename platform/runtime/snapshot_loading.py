"""The only place that reads a tenant's snapshot from its rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from django.db import connection, transaction

from audit import outside, subjects
from audit.bodies import Subject
from gateway import queries as gateway_queries
from gateway.models import Route
from governance import policy_sets
from governance.resources import Resource
from runtime import threads
from runtime.models import Agent
from runtime.snapshots import KnownKey, Offered, Snapshot
from tenants import isolation, members
from tenants.keys import issuing
from tenants.keys.models import Key
from tenants.models import Tenant
from tenants.principals import Principal


async def load(tenant: str, *, now: datetime) -> Snapshot:
    """The snapshot of the tenant with this slug. Raises TenantUnknown, SecretUnreadable, …"""
    return await threads.acting_for(tenant, lambda: read(now=now))


def read(*, now: datetime) -> Snapshot:
    """The acting tenant at one moment: all of it in one transaction's view.

    Each holder of a key is a data subject of the ledger, and made one before; for who came between
    it is read anew.
    """
    people: dict[str, Subject] = {}
    wanted = _people(_keys(now))
    while True:
        with transaction.atomic():
            people |= subjects.of_all(wanted - people.keys())
        snapshot = _read(now, people)
        wanted = _people(snapshot.keys)
        if wanted <= people.keys():
            return snapshot


def _people(keys: Mapping[str, KnownKey]) -> set[str]:
    return {known.principal.actor.person for known in keys.values()}


def _read(now: datetime, people: dict[str, Subject]) -> Snapshot:
    tenant = isolation.current()
    # The cursor comes first: it takes on the role, after which the isolation level is fixed.
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return Snapshot(
            tenant=tenant.slug,
            role=tenant.role_name,
            version=Tenant.objects.values_list("configuration_version", flat=True).get(
                pk=tenant.pk
            ),
            keys=_keys(now),
            subjects=people,
            policies=policy_sets.active(),
            routes=_routes(),
            agents=_agents(),
            witnesses=outside.configured_witnesses(),
        )


def _keys(now: datetime) -> dict[str, KnownKey]:
    tenant, people = isolation.current().slug, members.principals()
    holders = {key: _holder(key, tenant, people) for key in issuing.usable(now)}
    return {
        key.public_id: KnownKey(key.secret_hash, key.expires_at, holder)
        for key, holder in holders.items()
        if holder is not None
    }


def _holder(key: Key, tenant: str, people: dict[str, Principal]) -> Principal | None:
    if key.kind == Key.Kind.MEMBER:
        member = people.get(str(key.member))
        return msgspec.structs.replace(member, means="token") if member else None
    return Principal(
        kind="client_app", id=key.public_id, name=key.name, tenant=tenant, means="service_key"
    )


def _routes() -> dict[str, Offered]:
    rows = {row.slug: row for row in Route.objects.all()}
    return {
        slug: Offered(
            spec,
            Resource(kind="Route", slug=slug, pk=str(rows[slug].pk), attributes={}),
            rows[slug].created_at,
        )
        for slug, spec in gateway_queries.route_specs().items()
    }


def _agents() -> dict[str, datetime]:
    published = Agent.objects.filter(versions__isnull=False).distinct()
    return dict(published.values_list("slug", "created_at"))
