"""The only command for a superuser: it makes the event triggers that guard the ledger's schema."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from audit import ddl_guard


class Command(BaseCommand):
    """Make the event triggers, once a database."""

    requires_system_checks: list[str] = []  # they refuse to work as a superuser
    help = "Keep DDL away from the ledger's tables. DATABASE_URL must name a superuser."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them, or say why not."""
        with transaction.atomic(), connection.cursor() as cursor:
            if not ddl_guard.protect(cursor):
                raise CommandError("Only a superuser can make event triggers: connect as one.")
        self.stdout.write("No DDL touches the schema audit outside audit.maintain.")
