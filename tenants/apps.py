"""The only place that names this app to Django."""

from __future__ import annotations

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Tenants, members and isolation: tables in the public schema."""

    name = "tenants"
    default = True
