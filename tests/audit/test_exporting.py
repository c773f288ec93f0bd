"""The only place that tests the export of a ledger."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from own_logs import ROBO, NoteTaken, OwnLog, act_as, publish

from audit import bundles, ledger, queries
from audit.events import SYSTEM
from audit.queries import NotPublished
from audit.verify import layout
from audit.verify.checks import verify

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def _record(count: int) -> None:
    for number in range(count):
        ledger.record(NoteTaken(note="Grüße \u2028\n", number=number), actor=ROBO)


def test_a_bundle_is_whole_and_holds_the_entries_as_they_were_hashed(
    own_log: OwnLog, tmp_path: Path
):
    _record(5)
    publish()
    exported = bundles.export(tmp_path / "bundle", now=NOON)
    lines = (tmp_path / "bundle" / layout.ENTRIES).read_bytes().split(b"\n")[:-1]
    expected = [entry.leaf_bytes(own_log.origin) for entry in queries.entries().order_by("id")]
    assert lines == expected
    assert (exported.origin, exported.size, exported.not_covered) == (own_log.origin, 5, 0)
    report = verify(tmp_path / "bundle", key=queries.latest_checkpoint().verifier_key)
    assert report.verdict == "whole", report.checks


@pytest.mark.parametrize("as_file", [False, True])
def test_a_bundle_can_be_one_archive(own_log: OwnLog, tmp_path: Path, as_file):
    _record(3)
    publish()
    path = tmp_path / "bundle.tar.gz"
    file = io.BytesIO()
    bundles.export(file if as_file else path, now=NOON)
    if as_file:
        path.write_bytes(file.getvalue())
    assert verify(path).verdict == "whole"
    with tarfile.open(path) as archive:
        assert {Path(name).name for name in archive.getnames()} == {layout.MANIFEST, *layout.LISTED}


def test_what_no_checkpoint_covers_is_counted_and_left_out(own_log: OwnLog, tmp_path: Path):
    _record(3)
    publish()
    _record(2)
    exported = bundles.export(tmp_path / "bundle", now=NOON)
    assert (exported.size, exported.not_covered) == (3, 2)
    manifest = json.loads((tmp_path / "bundle" / layout.MANIFEST).read_text())
    assert (manifest["size"], manifest["not_covered"]) == (3, 2)
    assert manifest["created_at"] == "2026-03-02T12:00:00.000000Z"
    assert verify(tmp_path / "bundle").verdict == "whole"


def test_a_ledger_without_checkpoint_can_not_be_exported(own_log: OwnLog, tmp_path: Path):
    _record(1)
    with pytest.raises(NotPublished):
        bundles.export(tmp_path / "bundle", now=NOON)


def test_progress_is_told(own_log: OwnLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bundles, "CHUNK", 2)
    _record(5)
    publish()
    told: list[tuple[int, int]] = []
    bundles.export(tmp_path / "bundle", now=NOON, progress=lambda *args: told.append(args))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_a_bundle_holds_nothing_of_another_tenant(
    own_log: OwnLog, other_log: OwnLog, tmp_path: Path
):
    _record(2)
    act_as(other_log.role)
    ledger.record(NoteTaken(note="globex's secret"), actor=SYSTEM)
    act_as("none")
    publish()
    act_as(own_log.role)
    bundles.export(tmp_path / "bundle", now=NOON)
    for path in (tmp_path / "bundle").iterdir():
        assert b"globex" not in path.read_bytes()


def test_a_row_that_was_changed_in_the_database_is_named(
    own_log: OwnLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _record(4)
    publish()
    second = queries.entries().order_by("id")[1]
    honest = bundles.leaf_of_row

    def changed(row):
        return honest(row).replace(b'"number":1', b'"number":7')

    monkeypatch.setattr(bundles, "leaf_of_row", changed)
    bundles.export(tmp_path / "bundle", now=NOON)
    (finding,) = verify(tmp_path / "bundle").findings
    assert (finding.index, finding.id, finding.kind) == (1, str(second.id), "test.note_taken")
