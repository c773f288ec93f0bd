"""The only place that exports a ledger as a bundle, which verifies without us.

A bundle covers exactly what the newest checkpoint covers. Entries that were recorded since (a
fraction of a second, while a sequencer runs) are counted in its manifest as not covered: only the
sequencer seals, and an export waits for nobody. It holds every entry's header; what is private is
added for the selected entries, where the exporter may read it and nobody has erased it.
Memory stays constant; the disk holds one copy.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from audit import (
    base64_text,
    bodies,
    canonical,
    outside,
    queries,
    stored_tiles,
    subjects,
    tiles,
)
from audit.bodies import Subject
from audit.entries import ROW, fields_of, leaf_of_row, rfc3339
from audit.models import Checkpoint
from audit.proofs import prove_inclusion
from audit.selections import EVERYTHING, Selection
from audit.tlog_proof import TlogProof
from audit.verify import layout
from audit.verify.timestamps import AUTHORITY

Progress = Callable[[int, int], None]

CHUNK = 2_000
MOST_PROOFS = 100
MOST_TIMESTAMPS = 10
# From the leaves: what was sealed is exported, whatever became of the entry's row.
SEALED = f"""
SELECT leaf.index, body.sealed, key.id, key.wrapped, {ROW}
FROM audit.leaf
JOIN audit.log ON log.id = leaf.log_id
JOIN audit.entry ON entry.log_id = leaf.log_id AND entry.id = leaf.entry_id
LEFT JOIN audit.body ON body.log_id = entry.log_id AND body.entry_id = entry.id
LEFT JOIN audit.subject_key AS key ON key.id = body.subject
WHERE leaf.log_id = %s AND leaf.index >= %s AND leaf.index < %s
ORDER BY leaf.index
"""  # noqa: S608  (a constant of column names)


class Exported(msgspec.Struct, frozen=True):
    """What a bundle holds: entries covered, of which selected; recorded but not covered yet."""

    origin: str
    size: int
    root: str
    selected: int
    not_covered: int


class _Row(msgspec.Struct, frozen=True):
    """A sealed entry as it is read: its place, its body, the body's key, its columns."""

    index: int
    sealed: bytes | None
    key: tuple[UUID, bytes] | None
    entry: tuple[Any, ...]

    @property
    def id(self) -> UUID:
        return self.entry[0]  # type: ignore[no-any-return]


def export(
    folder: Path,
    *,
    now: datetime,
    selection: Selection = EVERYTHING,
    with_bodies: bool = True,
    progress: Progress | None = None,
) -> Exported:
    """Write the acting tenant's ledger as a bundle into `folder`, which is made.

    `progress(done, total)` is called after each chunk of entries.
    Raises queries.NotPublished while there is no checkpoint, roles.NoLedger, BodyUnreadable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, status = queries.latest_checkpoint(), queries.status()
    keys = _Keys(may_open=with_bodies)
    selected = _write_entries(folder, checkpoint, selection, keys, progress or _quietly)
    _write_tiles(folder, checkpoint)
    _write_notes(folder, checkpoint)
    _write_timestamps(folder / layout.TIMESTAMPS, checkpoint)
    _write_proofs(folder, checkpoint, selected[:MOST_PROOFS])
    shutil.copyfile(Path(__file__).parent / "verify" / "VERIFY.md", folder / layout.EXPLANATION)
    exported = Exported(
        origin=status.origin,
        size=checkpoint.size,
        root=layout.root_in(checkpoint.note),
        selected=len(selected),
        not_covered=status.size + status.pending - checkpoint.size,
    )
    facts = {"filter": selection.as_json(), "bodies": "selected" if with_bodies else "none"}
    _write_manifest(folder, exported, facts, now)
    return exported


def _quietly(_done: int, _total: int) -> None:
    """Nobody watches."""


def _write_entries(
    folder: Path, checkpoint: Checkpoint, selection: Selection, keys: _Keys, tell: Progress
) -> array[int]:
    """Write headers and bodies; the indexes of the selected entries."""
    selected = array("q")
    with (
        (folder / layout.ENTRIES).open("wb") as entries,
        (folder / layout.BODIES).open("wb") as private,
    ):
        for chunk in _chunks(checkpoint):
            entries.writelines(leaf_of_row(row.entry) + b"\n" for row in chunk)
            chosen = [row for row in chunk if _is_selected(row, selection)]
            private.writelines(keys.opened(row) for row in chosen)
            selected.extend(row.index for row in chosen)
            tell(chunk[-1].index + 1, checkpoint.size)
    return selected


def _is_selected(row: _Row, selection: Selection) -> bool:
    entry = fields_of(row.entry)
    return selection.fits(
        kind=entry["kind"],
        actor=entry["actor_id"],
        correlation=entry["correlation"],
        recorded_at=entry["recorded_at"],
    )


class _Keys:
    """The keys of the subjects met so far, up to a bound."""

    MOST = 10_000

    def __init__(self, *, may_open: bool) -> None:
        self._may_open = may_open
        self._known: dict[UUID, Subject] = {}

    def opened(self, row: _Row) -> bytes:
        """The line of the row's body; nothing where there is none, or nothing that opens it."""
        if not self._may_open or row.sealed is None or row.key is None:
            return b""
        body = bodies.open_(row.sealed, self._of(row.key), row.id)
        return canonical.encode({"index": row.index, **body}) + b"\n"

    def _of(self, key: tuple[UUID, bytes]) -> Subject:
        subject = self._known.get(key[0])
        if subject is None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            subject = self._known[key[0]] = subjects.unwrapped(key)
        return subject


def _chunks(checkpoint: Checkpoint) -> Iterator[list[_Row]]:
    """The sealed rows in order. Each chunk is a statement of its own.

    What is sealed never changes, so no transaction need stay open for as long as an export takes;
    and whoever is told of the progress can make it known at once.
    """
    for first in range(0, checkpoint.size, CHUNK):
        with connection.cursor() as cursor:
            end = min(first + CHUNK, checkpoint.size)
            cursor.execute(SEALED, [checkpoint.log_id, first, end])
            yield [_row(*columns) for columns in cursor.fetchall()]


def _row(index: int, sealed: Any, key: UUID | None, wrapped: Any, *entry: Any) -> _Row:
    return _Row(
        index,
        bytes(sealed) if sealed is not None else None,
        (key, bytes(wrapped)) if key is not None else None,
        entry,
    )


def _write_tiles(folder: Path, checkpoint: Checkpoint) -> None:
    with connection.cursor() as cursor:
        read = stored_tiles.reader(cursor, checkpoint.log_id)
        for tile in tiles.tiles_of(checkpoint.size):
            path = folder / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read(tile.level, tile.index, tile.width))


def _write_notes(folder: Path, checkpoint: Checkpoint) -> None:
    """The checkpoint with its cosignatures, the keys, and what leads here from the last export."""
    (folder / layout.CHECKPOINT).write_text(outside.cosigned(checkpoint), encoding="utf-8")
    _write_lines(folder / layout.KEY, outside.verifier_keys())
    witnesses = outside.witness_keys(checkpoint)
    if witnesses:
        _write_lines(folder / layout.WITNESSES, witnesses)
    before = outside.previous_export()
    if before is None or before.size > checkpoint.size:
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


def _write_manifest(folder: Path, exported: Exported, facts: dict[str, Any], now: datetime) -> None:
    before = outside.previous_export()
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
        **facts,
    }
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (folder / layout.MANIFEST).write_text(text, encoding="utf-8")


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }
