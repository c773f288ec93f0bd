"""The only place that tests that a ledger's key is replaced, whatever is killed meanwhile."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from own_logs import OwnLog, ask, record_all, record_committed
from own_rotations import SAID, Ground, Killed, after_the_first, die, silent, verified, vkey

from audit import rotations, sequencer, signing
from audit.entries import draft
from audit.events import SYSTEM, KeyRotated
from audit.guard import Guard
from audit.rotations import KeyNotIntroduced
from audit.signing import FileKeyring


@pytest.fixture
def ground(raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, tmp_path: Path) -> Ground:
    """One entry is published already."""
    keyring = FileKeyring(tmp_path / "keys" / "ledger.key", signing.load)
    made = Ground(raw, committed_log, guard, keyring, tmp_path)
    made.record()
    made.seal()
    return made


def test_the_new_key_signs_from_the_checkpoint_on_that_covers_its_entry(
    ground: Ground,
):
    old = ground.keyring.newest
    told: list[str] = []
    assert rotations.rotate(ground.keyring, tell=told.append, wait=ground.seal)
    new = ground.keyring.newest
    assert vkey(ground.log, new) != vkey(ground.log, old)
    both = [vkey(ground.log, old), vkey(ground.log, new)]
    assert ask(ground.raw, ground.log, SAID) == [tuple(both)]
    assert ground.signers() == both
    ground.record(2)
    ground.seal()
    assert ground.signers() == [*both, both[1]]
    report = verified(ground.log, ground.folder / "bundle", new)
    assert report.verdict == "whole", report.findings
    assert told[-1] == "Every ledger is signed with it; the old one is destroyed."


def test_whoever_knows_the_old_key_alone_is_told_that_it_was_replaced(ground: Ground):
    old = ground.keyring.newest
    ground.rotate()
    report = verified(ground.log, ground.folder / "bundle", old)
    assert report.verdict == "tampered"
    assert {each.code for each in report.findings} == {"signed_by_another_key"}
    assert "Ask its owner for the new one." in " ".join(note.sentence for note in report.notes)


def test_keys_are_for_the_owner_alone_and_the_old_one_is_destroyed_in_the_end(
    ground: Ground,
):
    seen: list[set[str]] = []

    def look() -> bool:
        files = list(ground.keyring.path.parent.iterdir())
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        seen.append({file.suffix for file in files})
        return ground.seal()

    assert rotations.rotate(ground.keyring, tell=silent, wait=look)
    assert seen[0] == {".key", ".old"}
    assert [file.name for file in ground.keyring.path.parent.iterdir()] == ["ledger.key"]


KILLS = {
    "once the new key is there": (rotations, "introduce"),
    "between two ledgers": (rotations, "_introduce"),
    "once every ledger says so": (FileKeyring, "promote"),
    "between two names": (Path, "replace"),
    "while the sequencer is waited for": (rotations, "_left_behind"),
    "before the old key goes": (FileKeyring, "forget_old"),
}


@pytest.mark.parametrize("where", KILLS)
@pytest.mark.parametrize("sealed_meanwhile", [True, False])
def test_a_rotation_that_was_killed_anywhere_is_finished_by_the_next(
    ground: Ground, other_committed_log: OwnLog, where: str, sealed_meanwhile: bool
):
    logs = (ground.log, other_committed_log)
    for log in logs:
        record_committed(ground.raw, log, 2)
    ground.seal()
    old = ground.keyring.newest
    owner, name = KILLS[where]
    with pytest.MonkeyPatch.context() as patch:
        is_late = name in {"_introduce", "_left_behind"}
        patch.setattr(owner, name, after_the_first(getattr(owner, name)) if is_late else die)
        with pytest.raises(Killed):
            rotations.rotate(ground.keyring, tell=silent, wait=ground.seal)
    if sealed_meanwhile:
        for log in logs:
            record_committed(ground.raw, log, 2)
        ground.seal()
        for log in logs:
            report = verified(log, ground.folder / f"{log.id}-meanwhile")
            assert report.verdict == "whole", report.findings
    assert ground.rotate()
    new = ground.keyring.newest
    assert [file.name for file in ground.keyring.path.parent.iterdir()] == ["ledger.key"]
    for log in logs:
        assert ask(ground.raw, log, SAID) == [(vkey(log, old), vkey(log, new))]
        report = verified(log, ground.folder / str(log.id), new)
        assert report.verdict == "whole", report.findings


def test_without_a_sequencer_it_says_so_and_goes_on_later(ground: Ground):
    told: list[str] = []
    assert not rotations.rotate(ground.keyring, tell=told.append, wait=lambda: False)
    assert ground.log.origin in told[-1]
    assert ground.keyring.is_rotating
    new = ground.keyring.newest
    assert rotations.rotate(ground.keyring, tell=told.append, wait=ground.seal)
    assert vkey(ground.log, ground.keyring.newest) == vkey(ground.log, new)


def test_a_key_may_be_rotated_again(ground: Ground):
    for _ in range(3):
        assert ground.rotate()
    assert len(set(ground.signers())) == 4
    report = verified(ground.log, ground.folder / "bundle", ground.keyring.newest)
    assert report.verdict == "whole", report.findings


def test_a_key_that_no_entry_introduced_signs_nothing(
    ground: Ground, caplog: pytest.LogCaptureFixture
):
    before = ground.signers()
    ground.keyring.path.unlink()
    ground.record()
    ground.seal()
    assert ground.signers() == before
    assert "a key that is not here" in caplog.text
    with pytest.raises(KeyNotIntroduced):
        sequencer.publish(ground.raw, ground.log.id, *ground.keyring.held(), guard=ground.guard)
    # A lost key is replaced as any other is.
    assert ground.rotate()
    report = verified(ground.log, ground.folder / "bundle", ground.keyring.newest)
    assert report.verdict == "whole", report.findings


def test_a_new_key_whose_file_is_on_its_way_is_waited_for(ground: Ground):
    (first,) = ground.keyring.held()
    ground.keyring.make_next()
    rotations.introduce(ground.keyring.newest)
    assert sequencer.run_once(ground.raw, first, guard=ground.guard).sealed == 1
    assert ground.signers() == [vkey(ground.log, first)]
    ground.seal()
    assert ground.signers()[1:] == [vkey(ground.log, ground.keyring.newest)]


@pytest.mark.parametrize("named", ["\0", 7, None, ["a"], "nobody's"])
def test_what_a_tenants_role_calls_a_rotation_stops_its_log_for_a_minute_at_most(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, named: Any
):
    event = KeyRotated(verifier_key=named, replaces=None)
    record_all(ground.raw, ground.log, [draft(event, actor=SYSTEM)])
    ground.seal()
    assert len(ground.signers()) == 1
    at_once = rotations.INTRODUCED.replace("1 minute", "0 minutes")
    monkeypatch.setattr(rotations, "INTRODUCED", at_once)
    ground.seal()
    assert ground.signers() == [vkey(ground.log, ground.keyring.newest)] * 2


def test_both_keys_of_a_log_are_rotated_each_by_itself(ground: Ground):
    second = FileKeyring(ground.folder / "keys" / "mldsa.key", signing.load_mldsa)

    def seal() -> bool:
        keys = (*ground.keyring.held(), *second.held())
        while sequencer.run_once(ground.raw, *keys, guard=ground.guard).sealed:
            continue
        return True

    ground.record()
    seal()
    for ring in (second, ground.keyring):
        assert rotations.rotate(ring, tell=silent, wait=seal)
    assert len(ground.signers()) == 4
    for ring in (second, ground.keyring):
        report = verified(ground.log, ground.folder / ring.path.stem, ring.newest)
        assert report.verdict == "whole", report.findings


def test_the_command_rotates_and_says_what_it_waits_for(
    ground: Ground, settings: Any, capsys: pytest.CaptureFixture[str]
):
    settings.LEDGER_KEY_FILE, settings.LEDGER_MLDSA_KEY_FILE = ground.keyring.path, None
    with pytest.raises(CommandError, match="Is the sequencer running"):
        call_command("rotate_ledger_key", wait=0)
    ground.seal()
    call_command("rotate_ledger_key", wait=0)
    assert "the old one is destroyed" in capsys.readouterr().out
    with pytest.raises(CommandError, match="names no ML-DSA-44 key"):
        call_command("rotate_ledger_key", mldsa=True)
