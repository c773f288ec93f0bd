"""The only place that names this app to Django."""

from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """The pages that people use; it has no tables."""

    name = "console"
