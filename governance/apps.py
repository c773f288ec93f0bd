"""The only place that tells Django about the app."""

from __future__ import annotations

from django.apps import AppConfig


class GovernanceConfig(AppConfig):
    """Governance; its rows live in each tenant's schema."""

    name = "governance"
    verbose_name = "Governance"

    def ready(self) -> None:
        """Register the entry kinds, so that a reader of the ledger knows all of them."""
        from governance import events  # noqa: F401, PLC0415
