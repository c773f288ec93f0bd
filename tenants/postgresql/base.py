"""The only place where a database connection takes on a tenant: its search_path and its role.

A tenant's connection runs as the tenant's role, which owns nothing and may reach only its own
schema, so a forgotten filter or a raw query meets `permission denied` in PostgreSQL itself.
Without a tenant (migrations, sign-in by host) it runs as the login role on the public schema.
"""

from __future__ import annotations

from typing import Any

from django.utils.asyncio import async_unsafe
from django_tenants.postgresql_backend import base


class DatabaseWrapper(base.DatabaseWrapper):
    """django-tenants' connection, which also sets the role, in one round trip a change."""

    _setting_search_path: bool
    search_path_set_schemas: list[str] | None

    @async_unsafe
    def _handle_search_path(self, cursor: Any = None) -> None:
        if self._setting_search_path or self.search_path_set_schemas is not None:
            return
        search_path = self._get_cursor_search_paths()
        role = getattr(self.tenant, "role_name", None) or "none"
        self._setting_search_path = True
        try:
            with self.connection.cursor() as raw:
                raw.execute(
                    "SELECT set_config('search_path', %s, false), set_config('role', %s, false)",
                    [",".join(base.quote_schema_name(name) for name in search_path), role],
                )
        finally:
            self._setting_search_path = False
        self.search_path_set_schemas = search_path
