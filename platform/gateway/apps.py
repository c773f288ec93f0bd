"""The only place that names this app to Django."""

from __future__ import annotations

from django.apps import AppConfig


class Gateway(AppConfig):
    """Models: providers, endpoints, routes."""

    name = "gateway"
    label = "gateway"
    verbose_name = "Models"
