"""The only place that makes disks so small that they can be filled: only root may mount them."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

BLOCKS = (2**20, 2**12, 1)


class SmallDisk:
    """A disk of its own, mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as file:
            for block in BLOCKS:
                with contextlib.suppress(DiskIsFull):
                    while True:
                        _write(file.fileno(), bytes(block))

    def make_room(self) -> None:
        """Let it be as it was."""
        self._ballast.unlink()


class DiskIsFull(Exception):
    """No space is left."""


def _write(descriptor: int, content: bytes) -> None:
    try:
        os.write(descriptor, content)
    except OSError as problem:
        if problem.errno != errno.ENOSPC:
            raise
        raise DiskIsFull from problem


@contextlib.contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A small disk on `folder`, which is made. Raises CalledProcessError."""
    folder.mkdir(exist_ok=True)
    options = ["-o", f"size={megabytes}m", "tmpfs", str(folder)]
    subprocess.run(["mount", "-t", "tmpfs", *options], check=True)
    folder.chmod(0o755)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
