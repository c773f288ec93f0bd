"""The only place that brings database and static files up to this version of the code."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Migrates every schema and collects the static files: what each start and release needs."""

    help = "Migrate every schema and collect the static files. Does nothing where nothing changed."

    def handle(self, *_: Any, **options: Any) -> None:
        """Both in one process, since starting one takes longer than the work."""
        for command in ("migrate_schemas", "collectstatic"):
            call_command(command, interactive=False, verbosity=max(0, options["verbosity"] - 1))
