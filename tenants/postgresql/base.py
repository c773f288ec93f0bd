"""The only place where a database connection takes on a tenant: its search_path and its role.

A tenant's connection runs as the tenant's role, which owns nothing and may reach only its own
schema, so a forgotten filter or a raw query meets `permission denied` in PostgreSQL itself.
Without a tenant (migrations, sign-in by host) it runs as the login role on the public schema.

Enforced: every statement through a Django cursor runs as the connection's present tenant, also on
a cursor that was opened before it changed; a rollback, a failed COMMIT or a reconnection never
leaves another role behind; temporary tables and views shadow nothing (`pg_temp` is searched last,
and a tenant's role can make none).

Not enforced: `RESET ROLE` and `SET ROLE`. PostgreSQL judges them by the session's login role, which
owns the schemas, so whoever can make the application send SQL of their own is the login role. This
is a net under the application's mistakes; against injection stands that values are always
parameters. Nor are names secret: every role can list the schemas and roles of a cluster
(`pg_namespace`, `pg_roles`), hence the slugs of the other tenants; their rows it can't reach, nor
the text of their queries (`pg_stat_activity`) or their statistics (`pg_stats`).

The role belongs to the session, so a pooler that shares sessions between clients would hand it to
strangers: the check countersign.E012 refuses one. Countersign pools its connections itself.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import InternalError
from django.db.backends import utils
from django.utils.asyncio import async_unsafe
from django_tenants.postgresql_backend import base
from psycopg.pq import TransactionStatus


class _AsTenant:
    """A cursor whose statements run as the tenant of the moment, not of when it was opened."""

    db: DatabaseWrapper

    def _execute(self, sql: Any, params: Any, *context: Any) -> Any:
        self.db.take_on_tenant()
        return super()._execute(sql, params, *context)  # type: ignore[misc]  # Django's, beside this

    def _executemany(self, sql: Any, params: Any, *context: Any) -> Any:
        self.db.take_on_tenant()
        return super()._executemany(sql, params, *context)  # type: ignore[misc]  # likewise


class _Cursor(_AsTenant, utils.CursorWrapper):
    """Django's cursor."""


class _DebugCursor(_AsTenant, utils.CursorDebugWrapper):
    """Django's cursor that keeps its queries."""


class DatabaseWrapper(base.DatabaseWrapper):
    """django-tenants' connection, which also sets the role, in one round trip a change."""

    _setting_search_path: bool
    search_path_set_schemas: list[str] | None

    def make_cursor(self, cursor: Any) -> Any:
        """Wrap psycopg's cursor."""
        return _Cursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> Any:
        """Wrap psycopg's cursor while queries are kept."""
        return _DebugCursor(cursor, self)

    @async_unsafe
    def take_on_tenant(self) -> None:
        """Set search_path and role, unless PostgreSQL has them already.

        In an aborted transaction nothing is set: nothing but its end can be executed there.
        """
        if self._setting_search_path or self.search_path_set_schemas is not None:
            return
        if self._is_aborted():
            return
        search_path = self._get_cursor_search_paths()
        quoted = [*map(base.quote_schema_name, search_path), "pg_temp"]
        self._setting_search_path = True
        try:
            with self.wrap_database_errors, self.connection.cursor() as raw:
                raw.execute(
                    "SELECT set_config('search_path', %s, false), set_config('role', %s, false)",
                    [",".join(quoted), self._role()],
                )
        finally:
            self._setting_search_path = False
        self.search_path_set_schemas = search_path

    def _handle_search_path(self, cursor: Any = None) -> None:
        self.take_on_tenant()

    def _role(self) -> str:
        """The tenant's role; the login role's own only where no tenant is meant."""
        if not hasattr(self.tenant, "role_name"):
            return "none"
        if not self.tenant.role_name:
            raise ImproperlyConfigured(f"The tenant {self.tenant} has no PostgreSQL role.")
        return str(self.tenant.role_name)

    def _is_aborted(self) -> bool:
        status = self.connection.pgconn.transaction_status
        return bool(status == TransactionStatus.INERROR)

    def _commit(self) -> None:
        """Commit. Raises InternalError for an aborted transaction: its COMMIT is a silent ROLLBACK.

        The caller would believe that the change is kept; and the role goes back with the rest.
        """
        if self.connection is not None and self._is_aborted():
            raise InternalError("The transaction was aborted by an error, so nothing is committed.")
        super()._commit()
