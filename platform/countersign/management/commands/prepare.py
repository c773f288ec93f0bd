"""The only place that brings database and static files up to this version of the code."""

from __future__ import annotations

from typing import Any

import psycopg
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from audit.management.commands.run_sequencer import connection_parameters

ANSWER_SECONDS = 10


class Command(BaseCommand):
    """Migrates every schema and collects the static files: what each start and release needs."""

    help = "Migrate every schema and collect the static files. Does nothing where nothing changed."

    def handle(self, *_: Any, **options: Any) -> None:
        """Both in one process, since starting one takes longer than the work.

        Raises CommandError where the database can't be reached.
        """
        _check_database()
        for command in ("migrate_schemas", "collectstatic"):
            call_command(command, interactive=False, verbosity=max(0, options["verbosity"] - 1))


def _check_database() -> None:
    parameters = connection_parameters() | {"connect_timeout": ANSWER_SECONDS}
    try:
        psycopg.connect(**parameters).close()
    except psycopg.OperationalError as problem:
        raise CommandError(
            f"DATABASE_URL names a database that can't be used: {str(problem).strip()}"
        ) from None
