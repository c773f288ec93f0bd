"""The only place for forged bundles: a corpus of them, and what the verifier calls each.

A forger here is able: unless a test says otherwise, the manifest fits the forged files. Where the
forger has the log's own key, history is rewritten and everything sealed and signed anew.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from forging import (
    ALICE,
    BOB,
    CUSTOMER,
    FIRST_KEY,
    NEWEST_KEY,
    NOW,
    ORIGIN,
    OTHER_KEY,
    WITNESS,
    Files,
    Log,
    begin,
    cosigned,
    decide,
    files_of,
    intent_of,
    joined,
    member,
    proof_of,
    rewritten,
    rich,
    tiles_over,
    uuid,
    vkey,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import checkpoints
from audit.checkpoints import Checkpoint
from audit.proofs import leaf_hash, root_of
from audit.verify import layout
from audit.verify.checks import verify
from audit.verify.report import CHECKS, Report

WHOLE = files_of(rich())
LEAVES = [leaf_hash(line) for line in WHOLE[layout.ENTRIES].splitlines()]
NOTE = WHOLE[layout.CHECKPOINT].decode()

Edit = Callable[[Files], None]


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def judge(files: Files, folder: Path, **how: Any) -> Report:
    """The verdict of somebody who knows the log's key and its witness."""
    said = how.pop("said", {})
    trusted = {"keys": [vkey()], "witnesses": [str(WITNESS.verifier)]}
    return verify(write(files, folder, **said), now=NOW, **{**trusted, **how})


def lines_of(files: Files) -> list[bytes]:
    return files[layout.ENTRIES].splitlines()


def edited(change: Callable[[list[bytes]], None]) -> Files:
    """The bundle with other lines in entries.jsonl, and nothing else changed."""
    lines = lines_of(WHOLE)
    change(lines)
    return {**WHOLE, layout.ENTRIES: joined(lines)}


# Without the log's key: entries


def _flip(lines: list[bytes]) -> None:
    lines[40] = lines[40].replace(b"Gr", b"Br")


def _swap(lines: list[bytes]) -> None:
    lines[40], lines[50] = lines[50], lines[40]


def _cut(lines: list[bytes]) -> None:
    del lines[290:]


@pytest.mark.parametrize(
    ("change", "code", "indexes"),
    [
        (_flip, "entry_changed", {40}),
        (lambda lines: lines.pop(40), "entry_missing", {40}),
        (_swap, "entry_moved", {40}),
        (lambda lines: lines.insert(41, lines[40]), "entry_duplicated", {40}),
        (lambda lines: lines.insert(40, rich(301).lines()[300]), "entry_inserted", {40}),
        (lambda lines: lines.append(rich(301).lines()[300]), "entry_inserted", {300}),
        (_cut, "entry_missing", set(range(290, 300))),
    ],
)
def test_what_was_done_to_entries_is_named(
    tmp_path: Path, change: Callable[[list[bytes]], None], code: str, indexes: set[int]
):
    report = judge(edited(change), tmp_path)
    named = {each.index for each in report.findings if each.code == code}
    assert indexes <= named, report.findings
    assert all(each.holds for each in report.checks if each.code == "root")


def test_a_changed_entry_is_named_by_id_and_kind(tmp_path: Path):
    (finding,) = judge(edited(_flip), tmp_path).findings
    assert (finding.id, finding.kind) == (uuid(40), "bench.happened")
    assert "index 40" in finding.sentence
    assert "was changed" in finding.sentence


def test_a_file_that_is_not_as_listed_is_named(tmp_path: Path):
    folder = write(WHOLE, tmp_path)
    (folder / layout.EXPLANATION).write_text("Trust us.")
    (folder / "more").write_text("Look at me.")
    (folder / layout.BODIES).unlink()
    report = verify(folder, now=NOW)
    assert {"file_changed", "file_unlisted", "file_missing"} <= codes(report)


# Without the log's key: hashes, tiles and checkpoints


def _with_leaf(files: Files) -> None:
    """Entry 40 is changed together with its leaf."""
    lines = lines_of(files)
    _flip(lines)
    files[layout.ENTRIES] = joined(lines)
    tile = files["tile/0/000"]
    files["tile/0/000"] = tile[: 40 * 32] + leaf_hash(lines[40]) + tile[41 * 32 :]


def _with_all_tiles(files: Files) -> None:
    lines = lines_of(files)
    _flip(lines)
    files.update(tiles_over([leaf_hash(line) for line in lines]))
    files[layout.ENTRIES] = joined(lines)


def _in_note(old: str, new: str) -> Edit:
    def edit(files: Files) -> None:
        assert old in NOTE
        files[layout.CHECKPOINT] = NOTE.replace(old, new, 1).encode()

    return edit


def _signed_anew(head: Checkpoint, key: Any = OTHER_KEY) -> Edit:
    def edit(files: Files) -> None:
        files[layout.CHECKPOINT] = cosigned(checkpoints.sign(head, key)).encode()

    return edit


HEAD = checkpoints.read(NOTE)
ROOT = base64.b64encode(HEAD.root).decode()
SIGNATURE = NOTE.split("\n")[4].rpartition(" ")[2]
COSIGNATURE = NOTE.split("\n")[5].rpartition(" ")[2]


def _altered(encoded: str) -> str:
    raw = bytearray(base64.b64decode(encoded))
    raw[-1] ^= 1
    return base64.b64encode(raw).decode()


def _without_key_lines(files: Files) -> None:
    """All is signed by another key, and log.vkey names it."""
    _signed_anew(HEAD)(files)
    files[layout.KEY] = f"{vkey(FIRST_KEY)}\n{vkey(OTHER_KEY)}\n".encode()


def _another_index(files: Files) -> None:
    files["proofs/0.tlog-proof"] = proof_of(1, LEAVES, NOTE)


def _another_index_relabelled(files: Files) -> None:
    forged = proof_of(1, LEAVES, NOTE).replace(b"index 1\n", b"index 0\n")
    files["proofs/0.tlog-proof"] = forged


def _no_consistency(files: Files) -> None:
    files[layout.CONSISTENCY] = joined(files[layout.CONSISTENCY].splitlines()[1:])


def _another_previous(files: Files) -> None:
    forged = checkpoints.sign(Checkpoint(ORIGIN, 120, bytes(32)), FIRST_KEY)
    files[layout.PREVIOUS] = forged.encode()


def _larger_previous(files: Files) -> None:
    later = Checkpoint(ORIGIN, 301, bytes(32))
    files[layout.PREVIOUS] = checkpoints.sign(later, FIRST_KEY).encode()


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (_with_leaf, "tile_changed"),
        (_with_all_tiles, "root_mismatch"),
        (lambda files: files.pop("tile/0/000"), "tile_missing"),
        (lambda files: files.pop("tile/1/000.p/1"), "tile_missing"),
        (lambda files: files.pop(layout.ENTRIES), "file_missing"),
        (lambda files: files.pop(layout.CHECKPOINT), "checkpoint_malformed"),
        (_in_note("\n300\n", "\n299\n"), "checkpoint_not_signed"),
        (_in_note("\n300\n", "\n299\n"), "size_mismatch"),
        (_in_note(ROOT, _altered(ROOT)), "checkpoint_not_signed"),
        (_in_note(ROOT, _altered(ROOT)), "root_mismatch"),
        (_in_note(SIGNATURE, _altered(SIGNATURE)), "checkpoint_not_signed"),
        (_in_note(COSIGNATURE, _altered(COSIGNATURE)), "cosignature_invalid"),
        (_in_note(f"— witness.test/w1 {COSIGNATURE}\n", ""), "cosignature_missing"),
        (_in_note("— witness.test/w1", "— witness.test/w2"), "signature_unknown"),
        (_in_note(ORIGIN, "ledger.test/globex"), "foreign_origin"),
        (_signed_anew(HEAD), "signed_by_another_key"),
        (_without_key_lines, "signed_by_another_key"),
        (_signed_anew(HEAD._replace(origin="ledger.test/globex")), "foreign_origin"),
        (lambda files: files.update({layout.KEY: b""}), "key_malformed"),
        (lambda files: files.update({layout.WITNESSES: b"w\n"}), "witness_key_malformed"),
        (_another_index, "proof_invalid"),
        (_another_index_relabelled, "proof_invalid"),
        (_no_consistency, "consistency_invalid"),
        (_another_previous, "previous_not_continued"),
        (_larger_previous, "rolled_back"),
        (lambda files: files.pop(layout.PREVIOUS), "manifest_mismatch"),
    ],
)
def test_what_was_done_to_hashes_and_signatures_is_named(tmp_path: Path, edit: Edit, code: str):
    files = dict(WHOLE)
    edit(files)
    said: dict[str, Any] = {}
    if code == "manifest_mismatch":
        said, code = {"previous": {"size": 1, "root": "0" * 64}}, "previous_malformed"
        said |= {"origin": ORIGIN, "size": 300, "root": HEAD.root.hex()}
    assert code in codes(judge(files, tmp_path, said=said))


@pytest.mark.parametrize("said", [{"size": 299}, {"root": "0" * 64}, {"origin": "ledger.test/x"}])
def test_a_manifest_that_contradicts_the_checkpoint_is_named(tmp_path: Path, said: dict[str, Any]):
    assert "manifest_mismatch" in codes(judge(WHOLE, tmp_path, said=said))


def test_a_missing_leaf_tile_blames_no_entry(tmp_path: Path):
    files = {**edited(lambda lines: lines.pop(280))}
    del files["tile/0/000"]
    report = judge(files, tmp_path)
    assert codes(report) >= {"tile_missing", "entry_missing"}
    assert {each.index for each in report.findings if each.code == "entry_missing"} == {280}


# With the log's own key: who kept an older checkpoint still sees it


def _forget(log: Log) -> None:
    log.entries[40]["event"] = {"note": "nothing"}


def _later_kept(size: int, log: Log | None = None) -> str:
    leaves = [leaf_hash(line) for line in (log or rich(max(size, 300))).lines()[:size]]
    return checkpoints.sign(Checkpoint(ORIGIN, size, root_of(leaves)), NEWEST_KEY)


@pytest.mark.parametrize(
    ("kept", "code"),
    [(200, "history_rewritten"), (300, "two_checkpoints"), (310, "rolled_back")],
)
def test_history_that_was_rewritten_with_the_real_key_is_found_by_what_somebody_kept(
    tmp_path: Path, kept: int, code: str
):
    forged = rewritten(_forget)
    assert codes(judge(forged, tmp_path)) == set()
    assert codes(judge(forged, tmp_path, since=_later_kept(kept))) == {code}


def test_a_kept_checkpoint_of_another_log_or_key_is_not_taken(tmp_path: Path):
    other = checkpoints.sign(Checkpoint(ORIGIN, 9, bytes(32)), OTHER_KEY)
    foreign = checkpoints.sign(Checkpoint("ledger.test/globex", 9, bytes(32)), NEWEST_KEY)
    for kept in (other, foreign, "nonsense"):
        assert codes(judge(WHOLE, tmp_path, since=kept)) == {"since_malformed"}


def test_the_export_before_shows_a_rewritten_history_too(tmp_path: Path):
    forged = rewritten(_forget)
    forged[layout.PREVIOUS] = WHOLE[layout.PREVIOUS]
    found = codes(judge(forged, tmp_path))
    assert found == {"previous_not_continued", "consistency_invalid"}


def test_an_export_that_the_log_itself_remembers_shows_it_as_well(tmp_path: Path):
    def exported(root: str) -> Files:
        log = rich()
        log.record("ledger.exported", {"size": 200, "root": root})
        return files_of(log)

    assert codes(judge(exported(root_of(LEAVES[:200]).hex()), tmp_path / "a")) == set()
    assert codes(judge(exported("0" * 64), tmp_path / "b")) == {"export_contradicted"}


def test_a_forger_with_a_key_of_the_same_name_is_found_by_the_key_one_trusts(tmp_path: Path):
    forged = rewritten(_forget, key=OTHER_KEY, keys=[OTHER_KEY])
    assert "signed_by_another_key" in codes(judge(forged, tmp_path))


def test_a_later_key_that_no_entry_introduced_is_named(tmp_path: Path):
    def forget_it(log: Log) -> None:
        log.remove(log.of_kind("ledger.key_rotated"))

    assert codes(judge(rewritten(forget_it), tmp_path / "a")) == {"key_not_introduced"}
    old = rewritten(lambda _: None, keys=[NEWEST_KEY])
    files = {name: each for name, each in old.items() if "previous" not in name}
    said = {"origin": ORIGIN, "size": 300, "root": HEAD.root.hex(), "previous": None}
    assert codes(judge(files, tmp_path / "b", said=said)) == set()
    files[layout.KEY] = f"{vkey(FIRST_KEY)}\n".encode()
    files[layout.CHECKPOINT] = cosigned(checkpoints.sign(HEAD, FIRST_KEY)).encode()
    found = codes(judge(files, tmp_path / "c", said=said, keys=[vkey(FIRST_KEY)]))
    assert found >= {"key_not_listed"}


# With the log's own key: what the entries say


def _event(kind: str, nth: int = 0, /, **changed: Any) -> Callable[[Log], None]:
    def change(log: Log) -> None:
        entry = log.entries[log.of_kind(kind, nth)]
        entry["event"] = {**entry["event"], **changed}

    return change


def _header(of: str, nth: int = 0, /, **changed: Any) -> Callable[[Log], None]:
    return lambda log: log.entries[log.of_kind(of, nth)].update(changed)


def _without(kind: str, nth: int = 0) -> Callable[[Log], None]:
    """The entry is gone, and its run numbered anew."""

    def change(log: Log) -> None:
        run = log.remove(log.of_kind(kind, nth))["correlation"]
        for entry in log.entries:
            if entry["correlation"] == run and entry["kind"] == "run.completed":
                entry["event"] = {**entry["event"], "entries": entry["event"]["entries"] - 1}

    return change


def _moved(kind: str, nth: int, to: str, to_nth: int) -> Callable[[Log], None]:
    return lambda log: log.move(log.of_kind(kind, nth), log.of_kind(to, to_nth))


def _gap(log: Log) -> None:
    at = log.of_kind("effect.begun")
    stamped = json.loads(log.lines()[at])
    log.entries[at] |= {"sequence": stamped["sequence"] + 1, "previous": stamped["previous"]}
    log.entries[at]["unchained"] = True


def _fork(log: Log) -> None:
    at = log.of_kind("effect.begun")
    stamped = json.loads(log.lines()[at])
    log.entries[at] |= {"sequence": stamped["sequence"], "previous": "0" * 64, "unchained": True}


def _numbered_alone(log: Log) -> None:
    log.entries[40] |= {"sequence": 0}


def _continued(log: Log) -> None:
    log.record("tool.called", {}, run=log.entries[2]["correlation"])


def _revoke(log: Log, *, before: int) -> None:
    """Taken back before the second run, which began `before` seconds later."""
    at = log.of_kind("policy.activated", 1)
    log.insert(at, {**log.entries[log.of_kind("grant.given")], "id": uuid(999)})
    log.entries[at] |= {"kind": "grant.revoked"} | {
        name: log.entries[at - 1][name] for name in ("occurred_at", "recorded_at")
    }
    for entry in log.entries[at + 1 :]:
        for name in ("occurred_at", "recorded_at"):
            moved = datetime.fromisoformat(entry[name]) + timedelta(seconds=before)
            entry[name] = moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _revoked(log: Log) -> None:
    _revoke(log, before=61)


def _approve_late(log: Log) -> None:
    """Opened, executed by a decision without it, and approved only then."""
    log.move(log.of_kind("approval.approved"), log.of_kind("effect.ended", 1))


def _spend_again(log: Log) -> None:
    at = log.of_kind("approval.spent")
    log.insert(at + 1, {**log.entries[at], "id": uuid(999)})
    run = log.entries[at]["correlation"]
    for entry in log.entries:
        if entry["kind"] == "run.completed" and entry["correlation"] == run:
            entry["event"] = {**entry["event"], "entries": entry["event"]["entries"] + 1}


def _decide_again(log: Log) -> None:
    """The same approval allows a second act."""
    run = uuid(9 << 20)
    approval = log.entries[log.of_kind("approval.spent")]["event"]["approval"]
    decision = decide(log, run, 900, approval=approval, code="approved")
    begin(log, run, 900, decision)


def _vote_again(log: Log) -> None:
    at = log.of_kind("approval.approved")
    again = {**log.entries[at], "correlation": None}
    again["event"] = {**again["event"], "reason": None}
    log.entries.append({**again, "id": uuid(999), **_times(log)})


def _times(log: Log) -> dict[str, Any]:
    return {name: log.entries[-1][name] for name in ("occurred_at", "recorded_at")}


def _use_twice(log: Log) -> None:
    begin(log, uuid(9 << 20), 10, log.entries[log.of_kind("effect.begun")]["event"]["decision"])


def _begin_twice(log: Log) -> None:
    run = uuid(9 << 20)
    begin(log, run, 30, decide(log, run, 30))
    begin(log, run, 30, decide(log, run, 30))


def _swap_bodies(log: Log) -> None:
    one, other = log.of_kind("run.started"), log.of_kind("run.started", 1)
    log.bodies[one], log.bodies[other] = log.bodies[other], log.bodies[one]


def _change_body(log: Log) -> None:
    part = log.bodies[log.of_kind("effect.ended", 1)]["outcome"]
    part["value"] = {"refunded": 9}


def _lose_body(log: Log) -> None:
    del log.bodies[log.of_kind("approval.approved")]


def _lose_part(log: Log) -> None:
    body = log.bodies[log.of_kind("run.started")]
    body["more"] = body.pop("task")


def _erased_body(log: Log) -> None:
    log.bodies[log.of_kind("document.uploaded")] = {
        "filename": {
            "salt": f"{log.of_kind('document.uploaded'):064x}",
            "value": "Ada's letter.pdf",
        }
    }


FUTURE = "2026-03-02T14:05:00.000001Z"
DECIDED = "intent.decided"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_header("bench.happened", 9, id=uuid(40)), {"id_repeated"}),
        (_header("bench.happened", 9, log="ledger.test/globex"), {"foreign_origin"}),
        (_header("bench.happened", 9, recorded_at=FUTURE), {"from_the_future"}),
        (_header("bench.happened", 9, occurred_at=FUTURE), {"recorded_too_early"}),
        (_gap, {"run_gap"}),
        (_fork, {"run_forked"}),
        (_numbered_alone, {"run_gap"}),
        (_continued, {"run_continued"}),
        (_event("run.completed", entries=4), {"run_miscounted"}),
        (_without("effect.begun"), {"outcome_without_effect"}),
        (_without(DECIDED), {"effect_without_decision"}),
        (_moved("effect.begun", 0, DECIDED, 0), {"effect_before_decision"}),
        (_event(DECIDED, outcome="denied"), {"effect_not_allowed"}),
        (_event("effect.begun", intent=intent_of(11)),
         {"executed_not_decided", "outcome_of_another_intent"}),
        (_event("effect.begun", 1, intent=intent_of(901)),
         {"executed_not_approved", "outcome_of_another_intent"}),
        (_event("effect.ended", intent=intent_of(11)), {"outcome_of_another_intent"}),
        (_use_twice, {"decision_used_twice"}),
        (_begin_twice, {"effect_begun_twice"}),
        (_event(DECIDED, 2, approval=None), {"held_not_approved"}),
        (_event(DECIDED, grant="8"), {"grant_unknown"}),
        (_event(DECIDED, grant=None), {"grant_unknown"}),
        (_without("grant.given"), {"grant_unknown"}),
        (_moved("grant.given", 0, DECIDED, 0), {"grant_unknown"}),
        (_event("grant.given", agent="another-desk"), {"grant_of_another"}),
        (_event("grant.given", resource="look_up_order"), {"grant_of_another"}),
        (_revoked, {"grant_revoked"}),
        (_event("approval.opened", quorum=2), {"quorum_not_reached"}),
        (_event("approval.approved", intent=intent_of(1)), {"approval_of_another_intent"}),
        (_event("approval.approved", approval=uuid(5)),
         {"approval_unknown", "approval_spent_unapproved"}),
        (_event("approval.approved", shown="0" * 64), {"shown_something_else"}),
        (_event("approval.approved", policy_version=1), {"policy_not_in_force"}),
        (_event("approval.approved", policy_version=3), {"policy_not_in_force"}),
        (_header("approval.approved", actor=member(ALICE)), {"approver_is_requester"}),
        (_header("approval.approved", actor={**member(BOB), "kind": "client_app"}),
         {"approver_is_no_member"}),
        (_header("approval.approved", kind="approval.rejected"), {"approval_spent_unapproved"}),
        (_without("approval.approved"), {"approval_spent_unapproved"}),
        (_without("approval.spent"), {"held_not_approved"}),
        (_approve_late,
         {"approval_after_execution", "approval_spent_unapproved", "approval_settled_twice"}),
        (_vote_again, {"approval_after_execution", "approval_settled_twice"}),
        (_spend_again, {"approval_spent_twice"}),
        (_decide_again, {"approval_spent_twice"}),
        (_swap_bodies, {"body_changed"}),
        (_change_body, {"body_changed"}),
        (_lose_part, {"body_changed"}),
        (_lose_body, {"body_missing"}),
        (_without("subject.erased"), {"body_missing"}),
        (_erased_body, {"body_not_erased"}),
        (_event("subject.erased", subjects=[CUSTOMER]), {"body_missing", "body_not_erased"}),
    ],
)  # fmt: skip
def test_what_the_entries_say_amiss_is_named(
    tmp_path: Path, change: Callable[[Log], None], expected: set[str]
):
    report = judge(rewritten(change), tmp_path)
    assert codes(report) == expected, report.findings
    assert not {check.code for check in report.checks if not check.holds} & {"root", "leaves"}


def test_an_effect_without_an_outcome_is_missed_after_an_hour(tmp_path: Path):
    def wait(log: Log) -> None:
        _without("effect.ended")(log)
        later = "2026-03-02T13:30:00.000000Z"
        log.entries[-1] |= {"occurred_at": later, "recorded_at": later}

    files = rewritten(wait)
    del files[layout.WITNESSES]
    files = {name: each for name, each in files.items() if not name.startswith("proofs")}
    head = checkpoints.read(files[layout.CHECKPOINT].decode())
    files[layout.CHECKPOINT] = checkpoints.sign(head, NEWEST_KEY).encode()
    assert codes(judge(files, tmp_path, witnesses=[])) == {"effect_without_outcome"}


def test_what_a_witness_saw_before_it_was_recorded_is_from_the_future(tmp_path: Path):
    files = rewritten(_header("bench.happened", -1, recorded_at="2026-03-02T13:05:01.000000Z"))
    assert codes(judge(files, tmp_path)) == {"from_the_future"}


@pytest.mark.parametrize(
    ("bodies", "code"),
    [
        (b'{"index":999,"parts":{"a":{"salt":"' + b"0" * 64 + b'","value":1}}}\n',
         "body_unexpected"),
        (b'{"index":0,"parts":{}}\n', "body_malformed"),
        (b'{"index":0, "parts":{}}\n', "body_malformed"),
        (b'{"index":0,"parts":{"a":{"salt":"00","value":1}}}\n', "body_malformed"),
        (WHOLE[layout.BODIES].splitlines(keepends=True)[0] * 2, "body_malformed"),
    ],
)  # fmt: skip
def test_bodies_that_should_not_be_there_are_named(tmp_path: Path, bodies: bytes, code: str):
    assert code in codes(judge({**WHOLE, layout.BODIES: bodies}, tmp_path))


def test_a_body_that_the_filter_leaves_out_should_not_be_shipped(tmp_path: Path):
    said = {"filter": {"kind": "approval."}, "selected": 3, "bodies": "selected"}
    assert codes(judge(WHOLE, tmp_path, said=said)) == {"body_unexpected"}


def test_every_code_of_the_verifier_is_known_to_this_corpus():
    """A finding that no forgery brings about is not worth its sentence."""
    elsewhere = {"timestamp_invalid", "manifest_malformed", "entry_malformed", "event_malformed",
                 "selection_miscounted", "manifest_mismatch"}  # fmt: skip
    here = Path(__file__).read_text(encoding="utf-8")
    known = {code for _, codes in CHECKS.values() for code in codes}
    assert {code for code in known if f'"{code}"' not in here} - elsewhere == set()


# Any bit

EVIDENCE = sorted(set(WHOLE) - {layout.EXPLANATION})
UNVERIFIABLE = ("created_at", "not_covered", "newest_outside")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(WHOLE, tmp_path_factory.mktemp("flips"))


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_flipped_bit_in_the_evidence_is_found_by_an_able_forgers_victim(
    folder: Path, data: st.DataObject
):
    name = data.draw(st.sampled_from(EVIDENCE))
    bit = data.draw(st.integers(0, len(WHOLE[name]) * 8 - 1))
    changed = bytearray(WHOLE[name])
    changed[bit // 8] ^= 1 << bit % 8
    report = judge({**WHOLE, name: bytes(changed)}, folder)
    assert report.verdict == "tampered", (name, bit)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_in_the_manifest_is_found_but_in_what_nobody_can_check(
    folder: Path, data: st.DataObject
):
    write(WHOLE, folder)
    path = folder / layout.MANIFEST
    whole = path.read_bytes()
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    try:
        now, before = json.loads(changed), json.loads(whole)
        moot = all(now.get(each) == before[each] for each in before if each not in UNVERIFIABLE)
    except ValueError:
        moot = False
    report = verify(folder, now=NOW)
    assert report.verdict == "tampered" or moot, bit
