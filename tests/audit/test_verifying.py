"""The only place that tests the verifier: on bundles whole and tampered, and on what is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from uuid import UUID

import pytest
from bundle_folder import (
    KEY,
    ORIGIN,
    OTHER_KEY,
    build,
    entry,
    key_line,
    list_files,
    read_entries,
    seal,
    write_entries,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.verify import layout
from audit.verify.__main__ import main
from audit.verify.alignment import MAX_FINDINGS
from audit.verify.checks import Report, verify

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return build(tmp_path / "bundle")


def _failed(report: Report) -> set[str]:
    return {check.code for check in report.checks if not check.holds}


def _named(report: Report) -> list[tuple[str, int]]:
    return [(finding.code, finding.index) for finding in report.findings]


def _rewrite(bundle: Path, lines: list[bytes]) -> Report:
    """Judge the bundle with other entries, and a manifest that fits them."""
    write_entries(bundle, lines)
    list_files(bundle)
    return verify(bundle)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 33])
def test_a_whole_bundle_is_whole(tmp_path: Path, size: int):
    report = verify(build(tmp_path / "bundle", size=size), key=key_line())
    assert report.verdict == "whole", report.checks
    assert report.findings == []


def test_a_flipped_byte_names_its_entry(bundle: Path):
    lines = read_entries(bundle)
    lines[4] = lines[4].replace(b'"amount":4', b'"amount":5')
    report = _rewrite(bundle, lines)
    assert report.verdict == "tampered"
    (finding,) = report.findings
    assert (finding.code, finding.index, finding.id, finding.kind) == (
        "entry_changed",
        4,
        str(UUID(int=4)),
        "refund.step_4",
    )
    assert f"index 4 (id {UUID(int=4)}, kind refund.step_4) was changed" in finding.sentence


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_is_found_and_its_entry_is_named(bundle: Path, data: st.DataObject):
    whole = [entry(number) for number in range(9)]
    number = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, len(whole[number]) * 8 - 1))
    changed = bytearray(whole[number])
    changed[bit // 8] ^= 1 << (bit % 8)
    report = _rewrite(bundle, [*whole[:number], bytes(changed), *whole[number + 1 :]])
    assert report.verdict == "tampered"
    assert number in {finding.index for finding in report.findings}
    assert str(UUID(int=number)) in {finding.id for finding in report.findings}


@pytest.mark.parametrize("number", range(9))
def test_a_deleted_entry_is_missed(bundle: Path, number: int):
    lines = read_entries(bundle)
    del lines[number]
    report = _rewrite(bundle, lines)
    assert _named(report) == [("entry_missing", number)]
    assert report.findings[0].id == str(UUID(int=number))
    assert {"leaves", "size", "root"} <= _failed(report)


def test_a_cut_tail_is_missed(bundle: Path):
    report = _rewrite(bundle, read_entries(bundle)[:6])
    assert _named(report) == [("entry_missing", number) for number in (6, 7, 8)]


def test_a_tail_that_is_cut_from_the_leaves_as_well_is_missed_by_the_checkpoint(bundle: Path):
    leaves = (bundle / layout.LEAVES).read_text().splitlines(keepends=True)
    (bundle / layout.LEAVES).write_text("".join(leaves[:6]))
    report = _rewrite(bundle, read_entries(bundle)[:6])
    assert {"size", "root"} == _failed(report)


def test_two_swapped_entries_are_found(bundle: Path):
    lines = read_entries(bundle)
    lines[2], lines[5] = lines[5], lines[2]
    report = _rewrite(bundle, lines)
    assert report.verdict == "tampered"
    assert ("entry_moved", 2) in _named(report)


def test_a_duplicated_entry_is_found(bundle: Path):
    lines = read_entries(bundle)
    report = _rewrite(bundle, [*lines[:4], lines[3], *lines[4:]])
    assert _named(report) == [("entry_duplicated", 3)]
    assert {"size", "root", "ids"} <= _failed(report)


def test_an_inserted_entry_is_found(bundle: Path):
    lines = read_entries(bundle)
    report = _rewrite(bundle, [*lines, entry(99)])
    assert _named(report) == [("entry_inserted", 9)]
    assert report.findings[0].id == str(UUID(int=99))


def test_an_entry_that_is_changed_together_with_its_leaf_fails_at_the_root(bundle: Path):
    note = (bundle / layout.CHECKPOINT).read_text()
    lines = read_entries(bundle)
    lines[3] = lines[3].replace(b'"amount":3', b'"amount":9')
    write_entries(bundle, lines)
    seal(bundle, lines)
    (bundle / layout.CHECKPOINT).write_text(note)
    list_files(bundle)
    assert _failed(verify(bundle)) == {"root"}


def test_a_changed_leaf_does_not_blame_the_entries_root(bundle: Path):
    leaves = (bundle / layout.LEAVES).read_text()
    (bundle / layout.LEAVES).write_text(leaves.replace(" ", " 0", 1).replace("\n", "", 1))
    list_files(bundle)
    report = verify(bundle)
    assert report.verdict == "tampered"
    assert "root" not in _failed(report)


def test_a_changed_signature_is_found(bundle: Path):
    path = bundle / layout.CHECKPOINT
    text = path.read_text()
    at = len(text) - 20
    path.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
    list_files(bundle)
    assert _failed(verify(bundle)) == {"signature"}


@pytest.mark.parametrize(("old", "new"), [("\n9\n", "\n8\n"), (ORIGIN, "ledger.test/globex")])
def test_a_changed_checkpoint_is_found(bundle: Path, old: str, new: str):
    path = bundle / layout.CHECKPOINT
    path.write_text(path.read_text().replace(old, new))
    list_files(bundle)
    assert "signature" in _failed(verify(bundle))


def test_history_that_is_rewritten_with_another_key_is_found_by_pinning_the_key(tmp_path: Path):
    forged = build(tmp_path / "forged", key=OTHER_KEY)
    assert verify(forged).verdict == "whole"
    assert _failed(verify(forged, key=key_line(KEY))) == {"signature"}


def test_another_tenants_bundle_is_not_taken_for_this_ones(tmp_path: Path):
    foreign = build(tmp_path / "foreign", origin="ledger.test/globex")
    assert _failed(verify(foreign, key=key_line(KEY))) == {"signature"}


def test_an_entry_of_another_log_is_found(bundle: Path):
    lines = [*read_entries(bundle)[:8], entry(8, origin="ledger.test/globex")]
    write_entries(bundle, lines)
    seal(bundle, lines)
    list_files(bundle)
    report = verify(bundle)
    assert _failed(report) == {"origin"}


def test_an_id_that_occurs_twice_is_found(bundle: Path):
    lines = read_entries(bundle)
    lines[5] = lines[5].replace(str(UUID(int=5)).encode(), str(UUID(int=4)).encode())
    write_entries(bundle, lines)
    seal(bundle, lines)
    list_files(bundle)
    assert _failed(verify(bundle)) == {"ids"}


@pytest.mark.parametrize(
    "line",
    [b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.5}', b'{"a": 1}', b"[" * 60_000, b"", b"NaN"],
)
def test_an_entry_that_is_sealed_but_not_canonical_is_found(bundle: Path, line: bytes):
    lines = read_entries(bundle)
    write_entries(bundle, [*lines[:3], line, *lines[4:]])
    list_files(bundle)
    assert "canonical" in _failed(verify(bundle))


def test_a_file_that_is_not_as_listed_is_named(bundle: Path):
    (bundle / layout.EXPLANATION).write_text("Trust us.")
    report = verify(bundle)
    assert _failed(report) == {"manifest"}
    assert layout.EXPLANATION in report.checks[0].sentence


@pytest.mark.parametrize("name", layout.LISTED)
@pytest.mark.parametrize("content", [None, b"", b"\xff\x00garbage\n", b"{}\n" * 3, b"[" * 200_000])
def test_garbage_in_any_file_is_a_verdict_and_never_a_crash(
    bundle: Path, name: str, content: bytes | None
):
    (bundle / name).unlink()
    if content is not None:
        (bundle / name).write_bytes(content)
    assert verify(bundle).verdict == "tampered"


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b"{}", b'{"files":3}', b"[" * 200_000, b'{"format":1}']
)
def test_a_broken_manifest_is_a_verdict(bundle: Path, content: bytes):
    (bundle / layout.MANIFEST).write_bytes(content)
    assert "manifest" in _failed(verify(bundle))


def test_many_findings_are_not_a_flood(tmp_path: Path):
    bundle = build(tmp_path / "bundle", size=100)
    assert len(_rewrite(bundle, []).findings) == MAX_FINDINGS


def test_a_key_that_is_none_is_a_failed_check(bundle: Path):
    assert _failed(verify(bundle, key="nonsense")) == {"signature"}


def _not_bundles(folder: Path) -> list[Path]:
    (folder / "empty").mkdir()
    (folder / "file").write_bytes(b"just some bytes")
    with tarfile.open(folder / "other.tar.gz", "w:gz") as archive:
        archive.add(folder / "file", arcname="../../escaped")
    whole = (folder / "other.tar.gz").read_bytes()
    (folder / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    return [folder / name for name in ("empty", "file", "other.tar.gz", "cut.tar.gz", "missing")]


def test_what_is_no_bundle_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for path in _not_bundles(tmp_path):
        assert main([str(path)]) == 2
        assert "is not a bundle" in capsys.readouterr().out
    assert not (tmp_path.parent.parent / "escaped").exists()


def test_the_command_says_each_check_in_a_sentence(
    bundle: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([str(bundle), "--key", key_line()]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("WHOLE")
    assert len([line for line in said if line.startswith("ok")]) == 9
    lines = read_entries(bundle)
    _rewrite(bundle, [lines[0], lines[1].replace(b":1,", b":7,"), *lines[2:]])
    (bundle.parent / "key").write_text(key_line())
    assert main([str(bundle), "--key", str(bundle.parent / "key"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "tampered"
    assert report["findings"][0]["index"] == 1


def test_the_verifier_stands_on_the_standard_library_and_cryptography_alone(bundle: Path):
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from audit.verify.__main__ import main\n"
        "code = main(sys.argv[1:])\n"
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "roots -= set(sys.stdlib_module_names)\n"
        "print(sorted(root for root in roots if not root.startswith('_')))\n"
        "sys.exit(code)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(bundle)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert ran.stdout.splitlines()[-1] == "['audit', 'cryptography']"


def test_the_verifier_runs_as_a_module(bundle: Path):
    command = [sys.executable, "-m", "audit.verify", str(bundle)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
