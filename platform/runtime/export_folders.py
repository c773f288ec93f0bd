"""The only place that says where exports lie, and who may write where."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

from django.conf import settings

from audit import archives
from audit.errors import Problem
from tenants import isolation


def folder() -> Path:
    """Of the acting tenant, by a name that no other tenant has ever had."""
    return Path(settings.EXPORTS_DIRECTORY) / str(isolation.current().pk)


def place(export: UUID) -> Path:
    """Where the file of a finished export is."""
    return folder() / f"{export}{archives.SUFFIX}"


@contextmanager
def workplace(export: UUID, attempt: int) -> Iterator[Path]:
    """The folder that a dead worker left, to go on in, or a new one; ours until the end.

    It stays where the worker dies, or the disk or the database fails: the export is tried again.
    """
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as locks:
        left = sorted(folder().glob(f"{export}.attempt-*"))
        # One that somebody slow works in is locked, and left to them.
        free = [each for each in left if _lock(each, locks)]
        ours = free.pop() if free else folder() / f"{export}.attempt-{attempt}"
        for other in free:
            shutil.rmtree(other)
        if ours not in left:
            ours.mkdir(mode=0o700)
            _lock(ours, locks)
        try:
            yield ours
        except Problem:
            shutil.rmtree(ours, ignore_errors=True)
            raise
        shutil.rmtree(ours, ignore_errors=True)


def _lock(path: Path, locks: ExitStack) -> bool:
    """Whether nobody else works in the folder; then we do, until `locks` close or we die."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # its worker has just dropped it
        return False
    locks.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return path.exists()


def files() -> list[Path]:
    """All that lies there: of each export its file, or the folders in which it is made."""
    return list(folder().glob("*"))


def export_in(path: Path) -> str:
    """The id of the export that a file or folder is of."""
    return path.name.partition(".")[0]


def remove(path: Path) -> None:
    """Remove the file or folder. Raises OSError."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
