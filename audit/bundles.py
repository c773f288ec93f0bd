"""The only place that exports a ledger as a bundle, which verifies without us.

A bundle covers exactly what the newest checkpoint covers. Entries that were recorded since (a
fraction of a second, while a sequencer runs) are counted in its manifest as not covered: only the
sequencer seals, and an export waits for nobody. Memory stays constant; the disk holds one copy.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from django.db import connection, transaction

from audit import queries
from audit.entries import ROW, leaf_of_row, rfc3339
from audit.models import Checkpoint
from audit.verify import layout

Progress = Callable[[int, int], None]

CHUNK = 2_000
# From the leaves: what was sealed is exported, whatever became of the entry's row.
SEALED = f"""
SELECT leaf.index, leaf.leaf_hash, {ROW}
FROM audit.leaf
JOIN audit.log ON log.id = leaf.log_id
JOIN audit.entry ON entry.log_id = leaf.log_id AND entry.id = leaf.entry_id
WHERE leaf.log_id = %s AND leaf.index < %s
ORDER BY leaf.index
"""  # noqa: S608  (a constant of column names)


class Exported(msgspec.Struct, frozen=True):
    """What a bundle holds: entries covered, and entries recorded but not covered yet."""

    origin: str
    size: int
    root: str
    not_covered: int


def export(target: Path | BinaryIO, *, now: datetime, progress: Progress | None = None) -> Exported:
    """Write the acting tenant's ledger as a bundle.

    `target`: a path that ends in `.tar.gz` or a binary file gets an archive, any other path a
    directory. `progress(done, total)` is called after each chunk of entries.
    Raises queries.NotPublished while there is no checkpoint, ledger.NoLedger.
    """
    if isinstance(target, Path) and not target.name.endswith(".tar.gz"):
        target.mkdir(parents=True, exist_ok=True)
        return _write(target, now, progress)
    with tempfile.TemporaryDirectory(prefix="bundle-") as name:
        folder = Path(name)
        exported = _write(folder, now, progress)
        _pack(folder, target)
    return exported


def _write(folder: Path, now: datetime, progress: Progress | None) -> Exported:
    checkpoint = queries.latest_checkpoint()
    status = queries.status()
    root = _write_entries(folder, checkpoint, progress or (lambda _done, _total: None))
    (folder / layout.CHECKPOINT).write_text(checkpoint.note, encoding="utf-8")
    (folder / layout.KEY).write_text(f"{checkpoint.verifier_key}\n", encoding="utf-8")
    shutil.copyfile(Path(__file__).parent / "verify" / "VERIFY.md", folder / layout.EXPLANATION)
    exported = Exported(
        status.origin, checkpoint.size, root, status.size + status.pending - checkpoint.size
    )
    _write_manifest(folder, exported, now)
    return exported


def _write_entries(folder: Path, checkpoint: Checkpoint, progress: Progress) -> str:
    done = 0
    with (
        (folder / layout.ENTRIES).open("wb") as lines,
        (folder / layout.LEAVES).open("wb") as leaves,
    ):
        for chunk in _chunks(checkpoint):
            for index, made, *row in chunk:
                lines.write(leaf_of_row(row) + b"\n")
                leaves.write(f"{index} {bytes(made).hex()} {row[0]}\n".encode())
            done += len(chunk)
            progress(done, checkpoint.size)
    return layout.root_in(checkpoint.note)


def _chunks(checkpoint: Checkpoint) -> Iterator[list[tuple[Any, ...]]]:
    """The sealed rows in order, from a cursor that stays in the server."""
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(SEALED, [checkpoint.log_id, checkpoint.size])
        while chunk := cursor.fetchmany(CHUNK):
            yield chunk


def _write_manifest(folder: Path, exported: Exported, now: datetime) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.iterdir())
        if path.name in layout.LISTED
    }
    manifest = {
        "format": layout.FORMAT,
        "origin": exported.origin,
        "size": exported.size,
        "root": exported.root,
        "not_covered": exported.not_covered,
        "created_at": rfc3339(now),
        "files": files,
    }
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (folder / layout.MANIFEST).write_text(text, encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(folder: Path, target: Path | BinaryIO) -> None:
    name, file = (target, None) if isinstance(target, Path) else (None, target)
    with tarfile.open(name, "w:gz", fileobj=file, compresslevel=6) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=f"bundle/{path.name}")
