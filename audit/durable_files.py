"""The only place that writes files as a whole, so that a crash leaves all of one or none of it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Let `path` hold `content` (mode 0600), on the disk when this returns. Raises OSError.

    Written aside, flushed, renamed, and the folder flushed: the name is durable too. One writer a
    path.
    """
    aside = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    flush_folder(path.parent)


def write_once(path: Path, content: bytes, *, mode: int = 0o600) -> bool:
    """Let `path` have `content`, on the disk when this returns, unless it exists; whether it was
    written.

    A link, not a rename, which would replace what another process put there meanwhile. Raises
    OSError.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        is_new = False
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(aside)
            is_new = True
    finally:
        aside.unlink(missing_ok=True)
    flush_folder(path.parent)
    return is_new


def flush_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
