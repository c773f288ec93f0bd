"""A ledger is taken out as a bundle: whole, constant in memory, and nothing of anybody else."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard
from own_logs import ROBO, Confided, NoteTaken, OwnLog, act_as, publish

from audit import archives, bundles, ledger, ocsf, queries, sealed_rows, spreadsheets, tlog_proof
from audit.checkpoints import parse_key
from audit.events import SYSTEM
from audit.queries import NotPublished
from audit.selections import Selection
from audit.verify import layout
from audit.verify.checks import verify
from audit.verify.report import Report


def _record(count: int) -> None:
    for number in range(count):
        ledger.record(NoteTaken(note="Grüße \u2028\n", number=number), actor=ROBO)


def _now() -> datetime:
    return datetime.now(UTC)


def _judged(folder: Path) -> Report:
    return verify(folder, now=_now(), keys=[queries.latest_checkpoint().verifier_key])


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


def test_a_bundle_is_whole_and_holds_the_entries_as_they_were_hashed(
    own_log: OwnLog, tmp_path: Path
):
    _record(5)
    publish()
    exported = bundles.export(tmp_path / "bundle", now=_now())
    entries = queries.entries().order_by("leaf__index")
    expected = [entry.leaf_bytes(own_log.origin) for entry in entries]
    assert _lines(tmp_path / "bundle" / layout.ENTRIES) == expected
    assert (exported.origin, exported.size, exported.not_covered) == (own_log.origin, 5, 0)
    report = _judged(tmp_path / "bundle")
    assert report.verdict == "whole", report


def test_a_large_log_has_full_tiles_and_proofs_to_hand_out(own_log: OwnLog, tmp_path: Path):
    _record(300)
    publish()
    bundles.export(tmp_path / "bundle", now=_now())
    full = tmp_path / "bundle" / "tile" / "0" / "000"
    assert full.stat().st_size == 8_192
    assert (tmp_path / "bundle" / "tile" / "1" / "000.p" / "1").stat().st_size == 32
    assert len(list((tmp_path / "bundle" / layout.PROOFS).iterdir())) == bundles.MOST_PROOFS
    text = (tmp_path / "bundle" / layout.PROOFS / "7.tlog-proof").read_text()
    leaf = bytes(queries.entries().get(leaf__index=7).leaf.leaf_hash)
    key = parse_key(queries.latest_checkpoint().verifier_key)
    assert tlog_proof.verify(text, leaf, key).size == 300
    assert _judged(tmp_path / "bundle").verdict == "whole"


def test_a_bundle_can_be_one_archive_with_its_manifest_last(own_log: OwnLog, tmp_path: Path):
    _record(3)
    publish()
    bundles.export(tmp_path / "bundle", now=_now())
    packed = io.BytesIO()
    archives.pack(tmp_path / "bundle", packed)
    file = tmp_path / f"bundle{archives.SUFFIX}"
    file.write_bytes(packed.getvalue())
    with (
        zstandard.open(file, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        members = list(archive)
    assert members[-1].name == f"bundle/{layout.MANIFEST}"
    assert {(member.uname, member.uid) for member in members} == {("", 0)}
    assert verify(file, now=_now()).verdict == "whole"


def test_private_parts_are_shown_of_the_selected_entries_alone(own_log: OwnLog, tmp_path: Path):
    for number in range(3):
        ledger.record(Confided(topic="a", words=f"secret {number}"), actor=ROBO)
    _record(2)
    publish()
    selection = Selection(kind=Confided.kind)
    exported = bundles.export(tmp_path / "bundle", now=_now(), selection=selection)
    bodies = [json.loads(line) for line in _lines(tmp_path / "bundle" / layout.BODIES)]
    assert exported.selected == len(bodies) == 3
    assert [body["parts"]["words"]["value"] for body in bodies] == [
        "secret 0",
        "secret 1",
        "secret 2",
    ]
    assert len(_lines(tmp_path / "bundle" / layout.ENTRIES)) == 5, "the headers of all"
    assert _judged(tmp_path / "bundle").verdict == "whole"


def test_what_is_derived_is_of_the_selected_entries(own_log: OwnLog, tmp_path: Path):
    ledger.record(Confided(topic="a", words="unheard of"), actor=ROBO)
    _record(2)
    publish()
    folder = tmp_path / "bundle"
    bundles.export(folder, now=_now(), selection=Selection(kind=NoteTaken.kind))
    leaves = list(enumerate(_lines(folder / layout.ENTRIES)))[1:]
    assert (folder / layout.OCSF).read_bytes() == b"".join(ocsf.line_of(*each) for each in leaves)
    assert (folder / layout.SPREADSHEET).read_bytes() == spreadsheets.header() + b"".join(
        spreadsheets.row_of(*each) for each in leaves
    )
    listed = json.loads((folder / layout.MANIFEST).read_text())["files"]
    assert set(layout.DERIVED) < set(listed)


@pytest.mark.parametrize("name", layout.DERIVED)
def test_a_changed_byte_of_what_is_derived_is_found(own_log: OwnLog, tmp_path: Path, name: str):
    _record(2)
    publish()
    folder = tmp_path / "bundle"
    bundles.export(folder, now=_now())
    report = _judged(folder)
    (said,) = [note.sentence for note in report.notes if note.code == "derived"]
    assert (report.verdict, name in said, "not evidence" in said) == ("whole", True, True)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content.replace(b"note", b"mote", 1))
    (finding,) = _judged(folder).findings
    assert finding.code == "file_changed"
    assert name in finding.sentence


def test_who_may_not_read_what_is_private_gets_the_headers(own_log: OwnLog, tmp_path: Path):
    ledger.record(Confided(topic="a", words="unheard of"), actor=ROBO)
    publish()
    bundles.export(tmp_path / "bundle", now=_now(), with_bodies=False)
    for path in (tmp_path / "bundle").rglob("*"):
        assert path.is_dir() or b"unheard of" not in path.read_bytes()
    assert _judged(tmp_path / "bundle").verdict == "whole"


def test_what_no_checkpoint_covers_is_counted_and_left_out(own_log: OwnLog, tmp_path: Path):
    _record(3)
    publish()
    _record(2)
    exported = bundles.export(tmp_path / "bundle", now=_now())
    assert (exported.size, exported.not_covered) == (3, 2)
    manifest = json.loads((tmp_path / "bundle" / layout.MANIFEST).read_text())
    assert (manifest["size"], manifest["not_covered"]) == (3, 2)
    assert _judged(tmp_path / "bundle").verdict == "whole"


def test_a_ledger_without_checkpoint_can_not_be_exported(own_log: OwnLog, tmp_path: Path):
    _record(1)
    with pytest.raises(NotPublished):
        bundles.export(tmp_path / "bundle", now=_now())


def test_progress_is_told(own_log: OwnLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bundles, "CHUNK", 2)
    _record(5)
    publish()
    told: list[tuple[int, int]] = []
    bundles.export(tmp_path / "bundle", now=_now(), progress=lambda *args: told.append(args))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_rows_are_read_by_their_bytes_too(own_log: OwnLog, monkeypatch: pytest.MonkeyPatch):
    """So that neither many entries nor long ones fill the memory."""
    for size in (1, 1, 1, 40_000, 1, 60_000, 60_000, 1, 1, 1):
        ledger.record(Confided(topic="x", words="y" * size), actor=ROBO)
    publish()
    checkpoint = queries.latest_checkpoint()
    monkeypatch.setattr(sealed_rows, "MOST_BYTES", 50_000)
    read = [
        [row.index for row in chunk] for chunk in sealed_rows.chunks(checkpoint, start=1, count=2)
    ]
    assert read == [[1, 2], [3, 4], [5], [6], [7, 8], [9]]
    monkeypatch.setattr(sealed_rows, "LOOKED_AHEAD", 3)
    read = [
        [row.index for row in chunk] for chunk in sealed_rows.chunks(checkpoint, start=0, count=9)
    ]
    assert read == [[0, 1, 2], [3, 4], [5], [6], [7, 8], [9]]


def test_a_bundle_holds_nothing_of_another_tenant(
    own_log: OwnLog, other_log: OwnLog, tmp_path: Path
):
    _record(2)
    act_as(other_log.role)
    ledger.record(NoteTaken(note="globex's secret"), actor=SYSTEM)
    act_as("none")
    publish()
    act_as(own_log.role)
    bundles.export(tmp_path / "bundle", now=_now())
    for path in (tmp_path / "bundle").rglob("*"):
        assert path.is_dir() or b"globex" not in path.read_bytes()


def test_a_row_that_was_changed_in_the_database_is_named(
    own_log: OwnLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _record(4)
    publish()
    second = queries.entries().get(leaf__index=1)
    honest = bundles.leaf_of_row

    def changed(row):
        return honest(row).replace(b'"number":1', b'"number":7')

    monkeypatch.setattr(bundles, "leaf_of_row", changed)
    bundles.export(tmp_path / "bundle", now=_now())
    (finding,) = _judged(tmp_path / "bundle").findings
    assert (finding.code, finding.index) == ("entry_changed", 1)
    assert (finding.id, finding.kind) == (str(second.id), "test.note_taken")
