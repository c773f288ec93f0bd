"""The only place that names this app to Django."""

from __future__ import annotations

from django.apps import AppConfig


class RuntimeConfig(AppConfig):
    """Agents, tools and runs: tables in each tenant's schema."""

    name = "runtime"
