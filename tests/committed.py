"""The only place that puts a tenant's committed rows back: built once, copied, and put in again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import F

from tenants import isolation
from tenants.models import Tenant

Rows = dict[str, bytes]
"""What a tenant's own tables hold, by table, as PostgreSQL copies it; empty ones are left out."""

LEFT = {"django_migrations", "auth_permission"}
"""Tables that no test changes."""

_kept: dict[str, Rows] = {}


def keep(name: str, tenant: Tenant) -> None:
    """Keep what the tenant's own tables hold now under this name, until the session ends."""
    with isolation.outside_tenants(), connection.cursor() as cursor:
        _kept[name] = {
            table: _copied(cursor, table) for table in _filled(cursor, _tables(cursor, tenant))
        }


def furnish(name: str, tenant: Tenant, build: Callable[[], object]) -> None:
    """What `build` commits in an empty tenant: built once a session, and put back from then on.

    It MUST be the same for every test that asks for this name, but for the moment of its making.
    """
    if name in _kept:
        put_back(name, tenant)
    else:
        build()
        keep(name, tenant)


def put_back(name: str, tenant: Tenant) -> None:
    """Let the tenant's own tables hold what was kept, and no more. The ledger stays: it must.

    Another process that is writing there can be in the way: PostgreSQL then ends one of the two.
    """
    for last in (False, False, False, True):
        try:
            _replace(tenant, _kept[name])
            break
        except OperationalError:
            if last:
                raise


def _replace(tenant: Tenant, rows: Rows) -> None:
    with isolation.outside_tenants(), transaction.atomic(), connection.cursor() as cursor:
        tables = _tables(cursor, tenant)
        # A worker that still writes ends before, or begins anew after: it never meets half of it.
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
        _empty(cursor, _filled(cursor, tables))
        for table, content in rows.items():
            with cursor.copy(f"COPY {table} FROM STDIN") as parts:
                parts.write(content)
        changed = F("configuration_version") + 1
        Tenant.objects.filter(pk=tenant.pk).update(configuration_version=changed)


def _copied(cursor: Any, table: str) -> bytes:
    with cursor.copy(f"COPY {table} TO STDOUT") as parts:
        return b"".join(parts)


def _empty(cursor: Any, tables: list[str]) -> None:
    """Delete all rows, where triggers forbid it as well.

    TRUNCATE takes twenty times as long: it makes new files for each table and each index.
    """
    cursor.execute(
        "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger"
        " WHERE NOT tgisinternal AND tgrelid = ANY(%s::regclass[])",
        [tables],
    )
    guarded = [table for (table,) in cursor.fetchall()]
    steps = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in guarded]
    steps += [f"DELETE FROM {table}" for table in tables]  # noqa: S608  (our own names)
    steps.append("SET CONSTRAINTS ALL IMMEDIATE")
    steps += [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in guarded]
    steps.append("SET CONSTRAINTS ALL DEFERRED")
    cursor.execute(";".join(steps))


def _tables(cursor: Any, tenant: Tenant) -> list[str]:
    cursor.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> ALL(%s)",
        [tenant.schema_name, list(LEFT)],
    )
    return [f'"{tenant.schema_name}"."{name}"' for (name,) in cursor.fetchall()]


def _filled(cursor: Any, tables: list[str]) -> list[str]:
    """Those of the tables that have rows."""
    looks = [f"(SELECT '{table}' FROM {table} LIMIT 1)" for table in tables]  # noqa: S608  (our own)
    cursor.execute(" UNION ALL ".join(looks))
    return [table for (table,) in cursor.fetchall()]
