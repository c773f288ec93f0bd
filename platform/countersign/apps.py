"""The only place that finishes the composition when Django is loaded."""

from __future__ import annotations

from django.apps import AppConfig


class CountersignConfig(AppConfig):
    """Makes the work queue's application the default one, in every thread, and brings together what
    may not import each other.
    """

    name = "countersign"

    def ready(self) -> None:
        """Load what registers itself."""
        from api import kept_answers  # noqa: PLC0415  (the models are loaded now)
        from countersign import celery, checks  # noqa: F401, PLC0415  (settings are complete now)
        from runtime import stores  # noqa: PLC0415

        celery.app.set_default()
        stores.add("kept_answers", kept_answers.forget)
