"""The only place that opens a bundle, as a directory or a .tar.gz."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from audit.errors import Problem
from audit.verify import layout


class NotABundle(Problem):
    """{path} is not a bundle: {reason}."""

    code = "not_a_bundle"
    status = 422


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder with the bundle's files. Raises NotABundle."""
    if path.is_dir():
        yield _checked(path, path)
        return
    with tempfile.TemporaryDirectory(prefix="verify-") as name:
        try:
            _unpack(path, Path(name))
        except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as problem:
            raise NotABundle(
                path=str(path), reason=f"the archive can't be read ({problem})"
            ) from problem
        yield _checked(Path(name), path)


def _checked(folder: Path, path: Path) -> Path:
    if not (folder / layout.MANIFEST).is_file():
        raise NotABundle(path=str(path), reason=f"there is no {layout.MANIFEST} in it")
    return folder


def _unpack(path: Path, folder: Path) -> None:
    """Take out the files that a bundle has, by their names alone, so that none lands elsewhere."""
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            if member.isreg() and name in {layout.MANIFEST, *layout.LISTED}:
                source = archive.extractfile(member)
                if source is not None:
                    with (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
