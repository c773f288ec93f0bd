"""The only place that names this app to Django."""

from __future__ import annotations

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """The REST API: kept answers in each tenant's schema."""

    name = "api"

    def ready(self) -> None:
        """Register what drf-spectacular must know of our authentication."""
        from api import openapi  # noqa: F401, PLC0415  (its classes register when they are defined)
