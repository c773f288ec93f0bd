"""The only place that tells Django about the app."""

from __future__ import annotations

from django.apps import AppConfig


class RetrievalConfig(AppConfig):
    """Retrieval; its rows live in each tenant's schema."""

    name = "retrieval"
    verbose_name = "Retrieval"

    def ready(self) -> None:
        """Register the entry kinds, so that a reader of the ledger knows all of them."""
        from retrieval import events  # noqa: F401, PLC0415
