"""The only place that exports a ledger as a bundle, which verifies without us.

A bundle covers exactly what the newest checkpoint covers. Entries that were recorded since (a
fraction of a second, while a sequencer runs) are counted in its manifest as not covered: only the
sequencer seals, and an export waits for nobody. It holds every entry's header; what is private is
added for the selected entries, where the exporter may read it and nobody has erased it.
Memory stays constant; the disk holds one copy. An export that was killed goes on in the same
folder: under the head at which it was begun, behind the last entry that its mark knows.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from django.db import connection

from audit import (
    base64_text,
    line_files,
    ocsf,
    outside,
    queries,
    sealed_rows,
    spreadsheets,
    stored_tiles,
    tiles,
)
from audit.entries import leaf_of_row, rfc3339
from audit.line_files import LineFiles, Mark
from audit.models import Checkpoint
from audit.proofs import prove_inclusion
from audit.sealed_rows import Keys, SealedRow
from audit.selections import EVERYTHING, Selection
from audit.tlog_proof import TlogProof
from audit.verify import layout
from audit.verify.timestamps import AUTHORITY

Progress = Callable[[int, int], None]

LINES = (layout.ENTRIES, layout.BODIES, *layout.DERIVED)
CHUNK = 1_000
# Entries from one mark to the next.
MARKED = 20_000
MOST_PROOFS = 100
MOST_TIMESTAMPS = 10


class Exported(msgspec.Struct, frozen=True):
    """What a bundle holds: entries covered, of which selected; recorded but not covered yet."""

    origin: str
    size: int
    root: str
    selected: int
    not_covered: int


class _Wanted(msgspec.Struct, frozen=True):
    """What an export is of, with which keys, and who is told of its progress."""

    of: Selection
    keys: Keys
    tell: Progress


def export(
    folder: Path,
    *,
    now: datetime,
    selection: Selection = EVERYTHING,
    with_bodies: bool = True,
    progress: Progress | None = None,
) -> Exported:
    """Write the acting tenant's ledger as a bundle into `folder`, which is made.

    `progress(done, total)` is called after each chunk of entries. Where an export of the same into
    `folder` was broken off, this goes on with it.
    Raises queries.NotPublished while there is no checkpoint, roles.NoLedger, BodyUnreadable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = {"filter": selection.as_json(), "bodies": "selected" if with_bodies else "none"}
    checkpoint, mark = _begun(folder, about)
    wanted = _Wanted(selection, Keys(may_open=with_bodies), progress or _quietly)
    with LineFiles(folder, LINES, mark) as files:
        _write_entries(files, checkpoint, mark, wanted)
    before = outside.previous_export(checkpoint)
    _write_tiles(folder, checkpoint)
    _write_notes(folder, checkpoint, before)
    _write_timestamps(folder / layout.TIMESTAMPS, checkpoint)
    _write_proofs(folder, checkpoint, mark.proven)
    shutil.copyfile(Path(__file__).parent / "verify" / "VERIFY.md", folder / layout.EXPLANATION)
    status = queries.status()
    exported = Exported(
        origin=status.origin,
        size=checkpoint.size,
        root=layout.root_in(checkpoint.note),
        selected=mark.selected,
        not_covered=status.size + status.pending - checkpoint.size,
    )
    _write_manifest(folder, exported, about, before, now)
    line_files.path_of_mark(folder).unlink()
    return exported


def _quietly(_done: int, _total: int) -> None:
    """Nobody watches."""


def _begun(folder: Path, about: dict[str, Any]) -> tuple[Checkpoint, Mark]:
    """The head of the export that was broken off here, and how far it came; or of a new one."""
    mark = line_files.read_mark(folder, about=about)
    checkpoint = queries.checkpoint_of(mark.size) if mark else None
    if mark is None or checkpoint is None:
        checkpoint = queries.latest_checkpoint()
        return checkpoint, Mark(size=checkpoint.size, about=about)
    # What else an earlier attempt left is written again: it takes seconds.
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in LINES:
            path.unlink()
    return checkpoint, mark


def _write_entries(files: LineFiles, checkpoint: Checkpoint, mark: Mark, wanted: _Wanted) -> None:
    """Write all entries from `mark` on; of those selected, what is private and what is derived."""
    if not mark.lengths:
        files.write(layout.SPREADSHEET, [spreadsheets.header()])
        files.keep()
    for chunk in sealed_rows.chunks(checkpoint, mark.index, CHUNK):
        leaves = [(row, leaf_of_row(row.entry)) for row in chunk]
        files.write(layout.ENTRIES, (leaf + b"\n" for _, leaf in leaves))
        _write_selected(files, mark, wanted, [each for each in leaves if each[0].fits(wanted.of)])
        mark.index = chunk[-1].index + 1
        if mark.index % MARKED < len(chunk):
            files.keep()
        wanted.tell(mark.index, checkpoint.size)


def _write_selected(
    files: LineFiles, mark: Mark, wanted: _Wanted, chosen: list[tuple[SealedRow, bytes]]
) -> None:
    files.write(layout.BODIES, (wanted.keys.opened(row) for row, _ in chosen))
    files.write(layout.OCSF, (ocsf.line_of(row.index, leaf) for row, leaf in chosen))
    rows = (spreadsheets.row_of(row.index, leaf) for row, leaf in chosen)
    files.write(layout.SPREADSHEET, rows)
    mark.selected += len(chosen)
    mark.proven.extend(row.index for row, _ in chosen[: MOST_PROOFS - len(mark.proven)])


def _write_tiles(folder: Path, checkpoint: Checkpoint) -> None:
    with connection.cursor() as cursor:
        read = stored_tiles.reader(cursor, checkpoint.log_id)
        for tile in tiles.tiles_of(checkpoint.size):
            path = folder / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read(tile.level, tile.index, tile.width))


def _write_notes(folder: Path, checkpoint: Checkpoint, before: Checkpoint | None) -> None:
    """The checkpoint with its cosignatures, the keys, and what leads here from the last export."""
    (folder / layout.CHECKPOINT).write_text(outside.cosigned(checkpoint), encoding="utf-8")
    _write_lines(folder / layout.KEY, outside.verifier_keys())
    witnesses = outside.witness_keys(checkpoint)
    if witnesses:
        _write_lines(folder / layout.WITNESSES, witnesses)
    if before is None:
        return
    path = folder / layout.PREVIOUS
    path.parent.mkdir(exist_ok=True)
    path.write_text(before.note, encoding="utf-8")
    proof = queries.consistency(before.size, checkpoint.size)
    _write_lines(folder / layout.CONSISTENCY, [base64_text.encode(step) for step in proof])


def _write_timestamps(folder: Path, checkpoint: Checkpoint) -> None:
    """The newest timestamps, each with what was stamped, and the certificates of them all."""
    found = outside.timestamps(checkpoint, most=MOST_TIMESTAMPS)
    for each in found:
        folder.mkdir(exist_ok=True)
        (folder / f"{each.size}.note").write_text(each.note_text, encoding="utf-8")
        (folder / f"{each.size}.tsr").write_bytes(each.stamp.response)
    authorities = dict.fromkeys(each.stamp.authority_pem for each in found)
    if authorities:
        (folder / AUTHORITY).write_bytes(b"\n".join(authorities))


def _write_proofs(folder: Path, checkpoint: Checkpoint, indexes: Iterable[int]) -> None:
    """Proofs to hand out one by one. Those of the other entries can be made from the tiles."""
    root, note = queries.range_root(checkpoint), outside.cosigned(checkpoint)
    for index in indexes:
        path = folder / layout.PROOFS / f"{index}.tlog-proof"
        path.parent.mkdir(exist_ok=True)
        proof = TlogProof(index, prove_inclusion(index, checkpoint.size, root), note)
        path.write_text(str(proof), encoding="utf-8")


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_manifest(
    folder: Path,
    exported: Exported,
    about: dict[str, Any],
    before: Checkpoint | None,
    now: datetime,
) -> None:
    listed = {path for path in folder.rglob("*") if path.is_file()}
    manifest = {
        "format": layout.FORMAT,
        "first": 0,
        "created_at": rfc3339(now),
        "previous": (
            {"size": before.size, "root": layout.root_in(before.note)} if before else None
        ),
        "newest_outside": outside.newest(),
        "files": {path.relative_to(folder).as_posix(): _facts(path) for path in sorted(listed)},
        **msgspec.structs.asdict(exported),
        **about,
    }
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (folder / layout.MANIFEST).write_text(text, encoding="utf-8")


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }
