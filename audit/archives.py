"""The only place that packs a bundle into one file: tar, compressed with Zstandard (RFC 8878)."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import zstandard

from audit.verify import layout

SUFFIX = ".tar.zst"
LEVEL = 6


def pack(folder: Path, target: BinaryIO, *, tell: Callable[[], object] | None = None) -> None:
    """Write the bundle in `folder` to `target`, which is only appended to; it stays open.

    The manifest comes last, as it lists what was packed before it. Memory stays constant.
    `tell` is called before each file.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name == layout.MANIFEST)
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    with (
        compressor.stream_writer(target, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for path in files:
            if tell is not None:
                tell()
            name = f"{layout.TOP}/{path.relative_to(folder).as_posix()}"
            archive.add(path, arcname=name, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names of this machine's users."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
