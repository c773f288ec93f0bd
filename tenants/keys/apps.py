"""The only place that names this app to Django."""

from __future__ import annotations

from django.apps import AppConfig


class KeysConfig(AppConfig):
    """Service keys and member tokens: tables in each tenant's schema."""

    name = "tenants.keys"
    label = "keys"
