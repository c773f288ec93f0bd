"""The only place that tests the verifier on whole bundles, and on what is none."""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from forging import (
    ALICE,
    BEGAN,
    FIRST_KEY,
    NEWEST_KEY,
    NOW,
    ORIGIN,
    WITNESS,
    Files,
    Log,
    begin,
    complete,
    decide,
    end,
    files_of,
    rich,
    start,
    uuid,
    vkey,
    write,
)

from audit import checkpoints, events
from audit.checkpoints import Checkpoint
from audit.proofs import leaf_hash, root_of
from audit.verify import layout, opening
from audit.verify.__main__ import main
from audit.verify.checks import verify
from audit.verify.kinds import PRIVATE
from audit.verify.report import CHECKS, MAX_FINDINGS, Report

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files() -> Files:
    return files_of(rich())


def _pack(folder: Path, archive: Path, members: Callable[[tarfile.TarFile], None]) -> Path:
    with tarfile.open(folder / "made.tar", "w") as tar:
        members(tar)
    archive.write_bytes(zstandard.compress((folder / "made.tar").read_bytes()))
    return archive


def _whole(report: Report) -> None:
    assert report.verdict == "whole", report.findings


@pytest.mark.parametrize("size", [26, 255, 256, 257, 300, 513])
def test_a_whole_bundle_is_whole(tmp_path: Path, size: int):
    folder = write(files_of(rich(size), previous=20), tmp_path)
    _whole(verify(folder, now=NOW, keys=[vkey()], witnesses=[str(WITNESS.verifier)]))


def test_an_empty_log_is_whole(tmp_path: Path):
    note = checkpoints.sign(Checkpoint(ORIGIN, 0, root_of([])), FIRST_KEY)
    key = f"{vkey(FIRST_KEY)}\n".encode()
    files = {layout.ENTRIES: b"", layout.CHECKPOINT: note.encode(), layout.KEY: key}
    said = {"size": 0, "root": root_of([]).hex(), "origin": ORIGIN, "previous": None}
    _whole(verify(write(files, tmp_path, **said), now=NOW))


def test_every_check_is_made_where_there_is_occasion(tmp_path: Path, files: Files):
    kept = files[layout.PREVIOUS].decode()
    report = verify(write(files, tmp_path), now=NOW, since=kept)
    _whole(report)
    assert {check.code for check in report.checks} == set(CHECKS) - {"timestamps"}


def test_the_report_says_who_erased_what_and_who_saw_the_log(tmp_path: Path, files: Files):
    report = verify(write(files, tmp_path), now=NOW)
    erased = rich().of_kind("subject.erased")
    said = {note.code: note.sentence for note in report.notes}
    assert f"1 entries were erased by entry {erased}" in said["bodies"]
    assert "kind witness, size 300" in said["outside"]


def test_a_filtered_bundle_ships_all_headers_and_only_selected_bodies(tmp_path: Path):
    log = rich()
    wanted = [at for at, each in enumerate(log.entries) if each["kind"].startswith("approval.")]
    log.bodies = {at: parts for at, parts in log.bodies.items() if at in wanted}
    said = {"filter": {"kind": "approval."}, "selected": len(wanted), "bodies": "selected"}
    _whole(verify(write(files_of(log), tmp_path, **said), now=NOW))


@pytest.mark.parametrize(
    ("wanted", "selected"),
    [
        ({"actor": ALICE}, 3),
        ({"kind": "run.", "actor": "refund-desk"}, 6),
        ({"after": "2026-03-02T12:00:10.000000Z", "before": "2026-03-02T12:00:15.000000Z"}, 5),
        ({"correlation": rich().entries[2]["correlation"]}, 5),
    ],
)
def test_the_auditor_runs_the_filter_again(tmp_path: Path, wanted: dict[str, str], selected: int):
    log = rich()
    log.bodies = {}
    said = {"filter": wanted, "bodies": "none"}
    folder = write(files_of(log), tmp_path, **said, selected=selected)
    _whole(verify(folder, now=NOW))
    write(files_of(log), tmp_path, **said, selected=selected + 1)
    assert {each.code for each in verify(folder, now=NOW).findings} == {"selection_miscounted"}


def test_a_bundle_whose_bodies_nobody_may_read_is_whole_and_says_so(tmp_path: Path):
    log = rich()
    log.bodies = {}
    report = verify(write(files_of(log), tmp_path, bodies="none"), now=NOW)
    _whole(report)
    assert "No private parts are shipped" in " ".join(note.sentence for note in report.notes)


def test_a_pruned_bundle_is_whole_and_says_from_where(tmp_path: Path):
    log = rich()
    first = log.of_kind("approval.approved")
    log.bodies = {at: parts for at, parts in log.bodies.items() if at >= first}
    files = files_of(log, first=first)
    report = verify(write(files, tmp_path, first=first), now=NOW)
    _whole(report)
    assert f"before index {first}" in {n.code: n.sentence for n in report.notes}["pruned"]


def test_bodies_that_retention_removed_are_not_missed(tmp_path: Path):
    def retained(prefix: str, before: int) -> Report:
        log = rich(40)
        log.record("retention.applied", {"kinds": [prefix], "before_index": before})
        log.bodies = {
            at: parts
            for at, parts in log.bodies.items()
            if log.entries[at]["kind"] != "run.started"
        }
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        return verify(write(files_of(log, previous=20), tmp_path / "b"), now=NOW)

    _whole(retained("run.", 30))
    assert "removed when their time was over, by entry 40" in str(retained("run.", 30).notes)
    assert {each.code for each in retained("approval.", 30).findings} == {"body_missing"}
    assert {each.index for each in retained("run.", 5).findings} == {8, 17}


def test_a_log_with_a_second_signature_of_ml_dsa_is_whole(tmp_path: Path):
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

    key = MLDSA44PrivateKey.generate()
    files = files_of(rich())
    head = checkpoints.read(files[layout.CHECKPOINT].decode())
    note = checkpoints.sign(head, NEWEST_KEY, key)
    files = {name: each for name, each in files.items() if not name.startswith("proofs")}
    files[layout.CHECKPOINT] = note.encode()
    files[layout.KEY] += f"{checkpoints.log_key(ORIGIN, key).verifier}\n".encode()
    del files[layout.WITNESSES]
    folder = write(files, tmp_path)
    _whole(verify(folder, now=NOW, keys=[vkey()]))
    files[layout.CHECKPOINT] = checkpoints.sign(head, NEWEST_KEY).encode()
    report = verify(write(files, folder), now=NOW)
    assert {each.code for each in report.findings} == {"signed_by_another_key"}


def test_an_outcome_may_come_after_its_run_was_cancelled_and_nothing_else(tmp_path: Path):
    log = rich(0)
    run, decision = log.entries[2]["correlation"], log.entries[3]["id"]
    ended, completed = log.of_kind("effect.ended"), log.of_kind("run.completed")
    log.entries[completed] |= {"kind": "run.cancelled", "event": {"entries": 4, "steps": 1}}
    del log.bodies[completed]
    log.entries[completed]["subject"] = None
    log.move(completed, ended)
    _whole(verify(write(files_of(log, previous=20), tmp_path / "a"), now=NOW))
    log.record("model.called", {"decision": decision}, run=run)
    report = verify(write(files_of(log, previous=20), tmp_path / "b"), now=NOW)
    assert [each.code for each in report.findings] == ["run_continued"]


def test_a_vote_may_rest_on_policies_that_were_replaced_while_it_was_cast(tmp_path: Path):
    log = rich(0)
    vote, activated = log.of_kind("approval.approved"), log.of_kind("policy.activated", 1)
    log.entries[vote]["event"] = {**log.entries[vote]["event"], "policy_version": 1}
    log.entries[vote]["occurred_at"] = log.entries[activated]["recorded_at"]
    _whole(verify(write(files_of(log, previous=20), tmp_path), now=NOW))


def test_whoever_knows_an_earlier_key_only_is_told_that_it_was_replaced(
    tmp_path: Path, files: Files
):
    report = verify(write(files, tmp_path), now=NOW, keys=[vkey(FIRST_KEY)])
    assert [each.code for each in report.findings] == ["signed_by_another_key"]
    assert "was replaced" in {note.code: note.sentence for note in report.notes}["keys"]


def test_an_effect_that_began_less_than_an_hour_ago_may_still_have_no_outcome(tmp_path: Path):
    log = rich(0)
    for kind in ("run.completed", "effect.ended"):
        log.remove(log.of_kind(kind, 2))
    _whole(verify(write(files_of(log, previous=20), tmp_path), now=NOW))


def test_the_archive_is_judged_like_the_folder(tmp_path: Path, files: Files):
    write(files, tmp_path / "bundle")
    names = [*sorted(files, reverse=True), layout.MANIFEST]

    def members(tar: tarfile.TarFile) -> None:
        for name in names:
            tar.add(tmp_path / "bundle" / name, arcname=f"bundle/{name}")

    archive = _pack(tmp_path, tmp_path / "ledger.tar.zst", members)
    _whole(verify(archive, now=NOW, keys=[vkey()]))
    _whole(verify(tmp_path, now=NOW))
    cut = tmp_path / "cut.tar.zst"
    cut.write_bytes(archive.read_bytes()[:-40])
    assert verify(cut, now=NOW).verdict == "not_a_bundle"


def _member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (_member("/escaped"), "could land outside"),
        (_member("bundle/../../escaped"), "could land outside"),
        (_member("bundle/.hidden"), "could land outside"),
        (_member("bundle/a\nb"), "could land outside"),
        (_member("bundle/entries.jsonl", tarfile.SYMTYPE), "is a link or a device"),
        (_member("bundle/entries.jsonl", tarfile.LNKTYPE), "is a link or a device"),
        (_member("bundle/entries.jsonl", tarfile.CHRTYPE), "is a link or a device"),
        (_member("bundle/pipe", tarfile.FIFOTYPE), "is a link or a device"),
        (_member("bundle/manifest.json"), "is in it twice"),
        (_member("bundle/bomb", size=1 << 29), "far more than an export"),
    ],
)
def test_a_hostile_archive_is_refused_in_clear_words(
    tmp_path: Path, member: tarfile.TarInfo, reason: str
):
    def members(tar: tarfile.TarFile) -> None:
        tar.addfile(_member("bundle/manifest.json", size=2), io.BytesIO(b"{}"))
        if member.size < 100:
            tar.addfile(member)
        else:
            tar.fileobj.write(member.tobuf())

    archive = _pack(tmp_path, tmp_path / "hostile.tar.zst", members)
    report = verify(archive, now=NOW)
    assert report.verdict == "not_a_bundle"
    assert reason in report.checks[0].sentence
    assert not (tmp_path.parent / "escaped").exists()


@pytest.fixture
def _no_module_for_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in opening.MODULES:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("_no_module_for_zstd")
@pytest.mark.skipif(not shutil.which("zstd"), reason="the command zstd is not installed")
def test_the_command_unpacks_it_where_no_module_does(tmp_path: Path, files: Files):
    write(files, tmp_path / "bundle")
    archive = _pack(
        tmp_path, tmp_path / "a.tar.zst", lambda tar: tar.add(tmp_path / "bundle", "bundle")
    )
    _whole(verify(archive, now=NOW))
    archive.write_bytes(archive.read_bytes()[:-40])
    assert verify(archive, now=NOW).verdict == "not_a_bundle"


@pytest.mark.usefixtures("_no_module_for_zstd")
def test_without_anything_that_unpacks_zstd_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "ledger.tar.zst").write_bytes(b"anything")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    said = verify(tmp_path / "ledger.tar.zst", now=NOW).checks[0].sentence
    assert "install the command zstd, or unpack it elsewhere" in said


def test_a_folder_with_a_link_in_it_is_no_bundle(tmp_path: Path, files: Files):
    write(files, tmp_path / "bundle")
    (tmp_path / "bundle" / layout.BODIES).unlink()
    (tmp_path / "bundle" / layout.BODIES).symlink_to("/dev/zero")
    assert "is a link" in verify(tmp_path, now=NOW).checks[0].sentence


def test_what_is_no_bundle_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"just some bytes")
    for name in ("empty", "file", "missing"):
        assert main([str(tmp_path / name)]) == 2
        assert "is not a bundle" in capsys.readouterr().out


def test_the_command_says_each_check_in_a_sentence(
    tmp_path: Path, files: Files, capsys: pytest.CaptureFixture[str]
):
    folder = write(files, tmp_path / "bundle")
    (tmp_path / "key").write_text(vkey())
    (tmp_path / "kept").write_bytes(files[layout.PREVIOUS])
    trusted = ["--key", str(tmp_path / "key"), "--witness", str(WITNESS.verifier)]
    assert main([str(folder), *trusted, "--since", str(tmp_path / "kept")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("WHOLE")
    assert len([line for line in said if line.startswith("ok")]) == len(CHECKS) - 1
    assert main([str(folder), "--since", str(tmp_path / "nowhere")]) == 1
    assert "since_malformed" in capsys.readouterr().out
    (folder / layout.BODIES).unlink()
    assert main([str(folder), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "tampered"
    assert report["findings"][0]["code"] == "file_missing"


def test_many_findings_are_not_a_flood(tmp_path: Path, files: Files):
    report = verify(write({**files, layout.ENTRIES: b""}, tmp_path), now=NOW)
    assert len([each for each in report.findings if each.code == "entry_missing"]) == MAX_FINDINGS
    said = next(check.sentence for check in report.checks if check.code == "leaves")
    assert said.endswith("(and 299 more)")


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00garbage\n", b"{}\n" * 3, b"[" * 200_000])
def test_garbage_in_any_file_is_a_verdict_and_never_a_crash(tmp_path: Path, content: bytes | None):
    files = files_of(rich(30), previous=20)
    for at, name in enumerate(files):
        if name == layout.EXPLANATION or (name.startswith("proofs") and content is None):
            continue
        kept = {each: files[each] for each in files if each != name}
        mutant = kept if content is None else {**kept, name: content}
        report = verify(write(mutant, tmp_path / str(at)), now=NOW)
        assert report.verdict == "tampered", name


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b"{}", b'{"files":3}', b"[" * 200_000, b'{"format":1}']
)
def test_a_broken_manifest_is_a_verdict(tmp_path: Path, files: Files, content: bytes):
    folder = write({**files, layout.MANIFEST: content}, tmp_path)
    assert {each.code for each in verify(folder, now=NOW).findings} == {"manifest_malformed"}


@pytest.mark.parametrize(
    "said",
    [
        {"first": 301},
        {"size": -1},
        {"size": True},
        {"filter": {"text": "Ada"}},
        {"filter": {"after": "yesterday"}},
        {"bodies": "some"},
        {"created_at": "2026"},
        {"newest_outside": []},
        {"previous": {"size": 3}},
        {"more": 1},
        {"root": "00"},
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path: Path, files: Files, said: dict[str, str]):
    folder = write(files, tmp_path, **said)
    assert {each.code for each in verify(folder, now=NOW).findings} == {"manifest_malformed"}


def test_a_size_beyond_all_tiles_takes_no_time(tmp_path: Path, files: Files):
    note = checkpoints.sign(Checkpoint(ORIGIN, 2**62, bytes(32)), NEWEST_KEY).encode()
    few = {name: files[name] for name in (layout.ENTRIES, layout.KEY)}
    said = {"size": 2**62, "root": "0" * 64, "origin": ORIGIN, "previous": None}
    folder = write({**few, layout.CHECKPOINT: note}, tmp_path, **said)
    assert "tile_missing" in {each.code for each in verify(folder, now=NOW).findings}


def _long() -> bytes:
    log = Log()
    log.record("bench.happened", {"note": "x" * 65_535})
    return log.lines()[0]


@pytest.mark.parametrize(
    "line",
    [
        b'{"b":1,"a":2}',
        b'{"a":1.5}',
        b'{"a": 1}',
        b"[" * 60_000,
        b"",
        b"x" * 200_000,
        b"\xff",
        _long(),
    ],
)
def test_an_entry_that_is_sealed_but_not_canonical_is_found(tmp_path: Path, line: bytes):
    lines = [*rich().lines()[:40], line]
    report = _sealed(lines, tmp_path)
    assert "entry_malformed" in {each.code for each in report.findings}


@pytest.mark.parametrize(
    "event",
    [b'{"version":1,"a":1}', b'{"version":1,"version":2}', b'{"version":1.0}', b'{"version": 1}',
     b'{"version":"\\u00fc"}', b'{"version":NaN}', b'{]}'],
)  # fmt: skip
def test_an_event_with_meaning_that_is_sealed_but_not_canonical_is_found(
    tmp_path: Path, event: bytes
):
    lines = rich().lines()[:2]
    start, end = lines[1].index(b'"event":') + 8, lines[1].index(b',"id":"0190')
    report = _sealed([lines[0], lines[1][:start] + event + lines[1][end:]], tmp_path)
    assert "event_malformed" in {each.code for each in report.findings}


def _sealed(lines: list[bytes], folder: Path) -> Report:
    """Judge a bundle of these lines, sealed and signed as they are."""

    class Fixed(Log):
        def lines(self) -> list[bytes]:
            return lines

    files = files_of(Fixed(), previous=1)
    return verify(write(files, folder, created_at=f"{BEGAN:%Y-%m-%dT%H}:59:00.000000Z"), now=NOW)


def test_the_table_of_private_fields_is_the_products_own():
    for app in ("tenants", "governance", "retrieval", "gateway", "runtime"):
        importlib.import_module(f"{app}.events")
    known = {kind: set(events.private_fields(made)) for kind, made in events.registry().items()}
    assert {kind: set(fields) for kind, fields in PRIVATE.items()} == {
        kind: fields for kind, fields in known.items() if fields and not kind.startswith("test")
    }


def test_the_verifier_stands_on_the_standard_library_and_cryptography_alone(
    tmp_path: Path, files: Files
):
    folder = write(files, tmp_path)
    script = (
        "import sys\n"
        # It judges timestamps; without it they are not judged, and everything else is.
        "sys.modules['rfc3161_client'] = None\n"
        "before = set(sys.modules)\n"
        "from audit.verify.__main__ import main\n"
        "code = main(sys.argv[1:])\n"
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "roots -= set(sys.stdlib_module_names)\n"
        "print(sorted(root for root in roots if not root.startswith('_')))\n"
        "sys.exit(code)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert ran.stdout.splitlines()[-1] == "['audit', 'cryptography']"


def test_the_verifier_runs_as_a_module(tmp_path: Path, files: Files):
    command = [sys.executable, "-m", "audit.verify", str(write(files, tmp_path))]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_leaves_are_those_of_the_lines(files: Files):
    assert files["tile/0/000"][:32] == leaf_hash(files[layout.ENTRIES].split(b"\n")[0])


ENDED = "ended"
LOST = {"code": "no_outcome"}


@pytest.mark.parametrize(
    ("outcomes", "codes"),
    [
        ([LOST, ENDED], set()),  # it came late
        ([ENDED, LOST], set()),  # it was on its way
        ([LOST, {"code": "effect_interrupted"}, ENDED], set()),
        ([ENDED, LOST, ENDED], {"outcome_without_effect"}),
        ([LOST, ENDED, ENDED], {"outcome_without_effect"}),
        ([ENDED, {"code": "effect_interrupted"}], {"outcome_without_effect"}),
    ],
)
def test_an_effect_that_was_called_unknown_has_one_outcome_at_most(
    tmp_path: Path, outcomes: list[Any], codes: set[str]
):
    log, run = rich(), uuid(9 << 20)
    start(log, run)
    decision = decide(log, run, 30)
    begin(log, run, 30, decision)
    for outcome in outcomes:
        end(log, run, 30, decision)
        if outcome != ENDED:
            log.bodies.pop(len(log.entries) - 1)
            entry = log.entries[-1]
            del entry["event"]["outcome"]
            entry.update(kind="effect.unknown", subject=None, event=entry["event"] | outcome)
    complete(log, run)
    report = verify(write(files_of(log), tmp_path), now=NOW)
    assert {finding.code for finding in report.findings} == codes
