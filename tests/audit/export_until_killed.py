"""A program that exports a log and is killed (SIGKILL) on its way: ROLE FOLDER ENTRIES."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import django

django.setup()

from django.db import connection  # noqa: E402

from audit import bundles  # noqa: E402

CHUNK, MARKED = 5, 10


def main(role: str, folder: Path, entries: int) -> None:
    """Never returns, unless there are fewer entries."""
    bundles.CHUNK, bundles.MARKED = CHUNK, MARKED
    connection.set_tenant(SimpleNamespace(schema_name="public", role_name=role))

    def progress(done: int, _total: int) -> None:
        if done >= entries:
            os.kill(os.getpid(), signal.SIGKILL)

    bundles.export(folder, now=datetime.now(UTC), progress=progress)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
