"""The only place that finishes the composition when Django is loaded."""

from __future__ import annotations

from django.apps import AppConfig


class CountersignConfig(AppConfig):
    """Makes the work queue's application the default one, in every thread."""

    name = "countersign"

    def ready(self) -> None:
        """Load what registers itself."""
        from countersign import celery, checks  # noqa: F401, PLC0415  (settings are complete now)

        celery.app.set_default()
