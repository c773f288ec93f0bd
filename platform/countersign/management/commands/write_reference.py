"""The only place where somebody asks for the reference pages to be written."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from countersign import reference


class Command(BaseCommand):
    """Writes the pages of docs/ that follow from what the code registers."""

    help = "Write docs/events.md, docs/errors.md and the table of settings from the code."
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        """Write them, and say which files they are."""
        for path in reference.write():
            self.stdout.write(str(path))
