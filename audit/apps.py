"""The only place where Django learns of the ledger."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The ground floor: the ledger."""

    name = "audit"
    label = "audit"
    verbose_name = "Ledger"
