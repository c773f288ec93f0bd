#!/usr/bin/env python
"""The only entry point for management commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "platform")]


def main() -> None:
    """Run the command named on the command line, with the embedded database if no other is set."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countersign.settings")
    from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
    from django.core.management import execute_from_command_line  # noqa: PLC0415

    from countersign import configuration, embedded  # noqa: PLC0415  (the path is complete here)

    try:
        wanted = configuration.read()
    except ImproperlyConfigured as problem:
        sys.exit(str(problem))
    with embedded.database_for(sys.argv[1:], wanted):
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
