"""The only place that opens a bundle: a folder, or a .tar.zst that somebody else may have made.

An archive is unpacked by the names in it, so these are looked at first: one that could land
outside, a link, a device, a name that stands twice, or more than an honest export would unpack to,
and nothing of it is believed.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from audit.errors import Problem
from audit.verify import layout

NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/){0,12}[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
# An export shrinks about 5 to 30 times.
MOST_TIMES_ITS_SIZE = 200
ALWAYS_ALLOWED = 1 << 28
MOST_FILES = 1_000_000
PIECE = 1 << 20
# The first is part of Python 3.14.
MODULES = ("compression.zstd", "zstandard")


class NotABundle(Problem):
    """{path} is not a bundle: {reason}."""

    code = "not_a_bundle"
    status = 422


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder with the bundle's files. Raises NotABundle."""
    if path.is_dir():
        yield _folder_in(path, path)
        return
    if not path.is_file():
        raise NotABundle(path=str(path), reason="there is no such file or folder")
    with tempfile.TemporaryDirectory(prefix="verify-") as name:
        try:
            _unpack(path, Path(name))
        except (OSError, EOFError, tarfile.TarError, ValueError) as problem:
            reason = f"the archive can't be read ({problem})"
            raise NotABundle(path=str(path), reason=reason) from problem
        yield _folder_in(Path(name), path)


def _folder_in(folder: Path, path: Path) -> Path:
    """The folder itself, or the folder `bundle` in it."""
    for place in (folder, folder / layout.TOP):
        if (place / layout.MANIFEST).is_file():
            _check_plain(place, path)
            return place
    raise NotABundle(path=str(path), reason=f"there is no {layout.MANIFEST} in it")


def _check_plain(folder: Path, path: Path) -> None:
    for each in folder.rglob("*"):
        if each.is_symlink() or not (each.is_file() or each.is_dir()):
            reason = f"{each.relative_to(folder)} is a link or a device, and no file"
            raise NotABundle(path=str(path), reason=reason)


def _unpack(path: Path, folder: Path) -> None:
    room = max(ALWAYS_ALLOWED, path.stat().st_size * MOST_TIMES_ITS_SIZE)
    seen: set[str] = set()
    with _decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            _check_member(member, seen)
            room -= member.size
            if room < 0 or len(seen) > MOST_FILES:
                raise ValueError("it unpacks to far more than an export of its size")
            source = archive.extractfile(member)
            if member.isreg() and source is not None:
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(source, file, PIECE)


def _check_member(member: tarfile.TarInfo, seen: set[str]) -> None:
    if not (member.isreg() or member.isdir()):
        raise ValueError(f"{member.name!r} is a link or a device, and no file")
    if not NAME.fullmatch(member.name):
        raise ValueError(f"{member.name!r} could land outside of the folder, or is no name of ours")
    if member.isreg() and member.name in seen:
        raise ValueError(f"{member.name!r} is in it twice")
    seen.add(member.name)


@contextlib.contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    """The archive's bytes, by the first that is there: Python 3.14, `zstandard`, the command."""
    for name in MODULES:
        with contextlib.suppress(ImportError):
            module: Any = importlib.import_module(name)
            with _of_module(module, path) as stream:
                yield stream
            return
    if shutil.which("zstd") is None:
        raise ValueError(
            "nothing here unpacks zstd: use Python 3.14, install the command zstd, or unpack it"
            " elsewhere and name the folder"
        )
    with _of_command(path) as stream:
        yield stream


@contextlib.contextmanager
def _of_module(module: Any, path: Path) -> Iterator[IO[bytes]]:
    try:
        with module.open(path, "rb") as stream:
            yield stream
    except module.ZstdError as problem:
        raise ValueError(str(problem)) from problem


@contextlib.contextmanager
def _of_command(path: Path) -> Iterator[IO[bytes]]:
    command = ["zstd", "--decompress", "--stdout", "--quiet", "--", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        try:
            yield running.stdout  # type: ignore[misc]
        except BaseException:
            running.kill()
            raise
        # What follows the archive's end must be whole too.
        while running.stdout and running.stdout.read(PIECE):
            pass
        if running.wait() != 0:
            raise ValueError("it is no zstd file, or was cut off")
