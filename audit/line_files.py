"""The only place that writes a bundle's files of lines, and remembers how far, so that an export
that was killed goes on.

A *mark* says: the entries before `index` stand in these files, up to these lengths. It is written
once these bytes are on the disk; whoever goes on cuts the files to these lengths, so a line is
never there twice and never half.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec

from audit import durable_files


class Mark(msgspec.Struct, kw_only=True):
    """How far an export has come: `size` is its head's, `about` what was asked for.

    `selected` entries of those before `index` are selected; `proven` are the first of them.
    """

    size: int
    about: dict[str, Any]
    index: int = 0
    selected: int = 0
    proven: list[int] = msgspec.field(default_factory=list)
    lengths: dict[str, int] = msgspec.field(default_factory=dict)


def path_of_mark(folder: Path) -> Path:
    """Where the mark of the export into `folder` is: beside it, as it is no part of the bundle."""
    return folder.with_name(f"{folder.name}.mark")


def read_mark(folder: Path, *, about: dict[str, Any]) -> Mark | None:
    """The mark of an export of the same, if it can be gone on from; else None."""
    try:
        mark = msgspec.json.decode(path_of_mark(folder).read_bytes(), type=Mark)
        lengths = {name: (folder / name).stat().st_size for name in mark.lengths}
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    whole = all(lengths[name] >= length for name, length in mark.lengths.items())
    return mark if whole and mark.about == about else None


class LineFiles:
    """The files `names` in `folder`, opened where `mark` says that they end."""

    def __init__(self, folder: Path, names: Sequence[str], mark: Mark) -> None:
        self._folder = folder
        self._mark = mark
        self._names = names
        self._files: dict[str, BinaryIO] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for name in self._names:
            file = self._stack.enter_context(_opened(self._folder / name))
            file.truncate(self._mark.lengths.get(name, 0))
            file.seek(0, os.SEEK_END)
            self._files[name] = file
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, name: str, lines: Iterable[bytes]) -> None:
        """Add `lines`, which have their newlines."""
        self._files[name].writelines(lines)

    def keep(self) -> None:
        """Let the mark hold from now on, also after a power cut. Raises OSError."""
        for name, file in self._files.items():
            file.flush()
            os.fsync(file.fileno())
            self._mark.lengths[name] = file.tell()
        durable_files.replace(path_of_mark(self._folder), msgspec.json.encode(self._mark))


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
