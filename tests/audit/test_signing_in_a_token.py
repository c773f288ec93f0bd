"""The only place that tests logs whose key is in a PKCS #11 token: rotated, moved in, and away."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from own_logs import OwnLog, ask, environment, record_committed
from own_rotations import SAID, Ground, Killed, after_the_first, die, verified, vkey
from own_tokens import SoftToken
from pkcs11 import ObjectClass

from audit import keyrings, rotations, sequencer, signing
from audit.guard import Guard
from audit.management.commands import run_sequencer
from audit.rotations import KeyNotIntroduced
from audit.signing import FileKeyring, LedgerKeyUnusable
from audit.token_keys import TokenKeyring
from tests.environment import ROOT

SIZES = "SELECT coalesce(max(size), 0) FROM audit.checkpoint"
LOGIN = "A login."
SEALED = "SELECT coalesce(max(size), 0) FROM audit.tree_head"


@pytest.fixture
def ground(
    raw: psycopg.Connection,
    committed_log: OwnLog,
    guard: Guard,
    tmp_path: Path,
    soft_token: SoftToken,
) -> Ground:
    """One entry is published already."""
    made = Ground(raw, committed_log, guard, TokenKeyring(soft_token.parsed()), tmp_path)
    made.record()
    made.seal()
    return made


def test_a_key_in_a_token_is_rotated_and_what_it_signed_verifies_offline(
    ground: Ground, soft_token: SoftToken
) -> None:
    old = ground.keyring.newest
    told: list[str] = []
    ground.record(2)
    assert rotations.rotate(ground.keyring, tell=told.append, wait=ground.seal)
    new = ground.keyring.newest
    ground.record(2)
    ground.seal()
    both = [vkey(ground.log, old), vkey(ground.log, new)]
    assert ground.signers()[0] == both[0]
    assert ground.signers()[-2:] == [both[1], both[1]]
    assert ask(ground.raw, ground.log, SAID) == [tuple(both)]
    report = verified(ground.log, ground.folder / "bundle", new)
    assert report.verdict == "whole", report.findings
    assert verified(ground.log, ground.folder / "old", old).verdict == "tampered"
    assert "beside pkcs11:token=ledger;object=countersign-ledger." in told[0]
    assert soft_token.pin not in "".join(told)
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 1


KILLS = {
    "once the new key is there": (rotations, "introduce"),
    "between two ledgers": (rotations, "_introduce"),
    "once every ledger says so": (TokenKeyring, "promote"),
    "while the sequencer is waited for": (rotations, "_left_behind"),
    "before the old key goes": (TokenKeyring, "forget_old"),
    "between its two halves": (TokenKeyring, "_destroy"),
}


@pytest.mark.parametrize("where", KILLS)
@pytest.mark.parametrize("sealed_meanwhile", [True, False])
def test_a_rotation_that_was_killed_anywhere_is_finished_by_the_next(
    ground: Ground,
    other_committed_log: OwnLog,
    soft_token: SoftToken,
    where: str,
    sealed_meanwhile: bool,
) -> None:
    logs = (ground.log, other_committed_log)
    for log in logs:
        record_committed(ground.raw, log, 2)
    ground.seal()
    old = ground.keyring.newest
    owner, name = KILLS[where]
    with pytest.MonkeyPatch.context() as patch:
        is_late = name.startswith("_")
        patch.setattr(owner, name, after_the_first(getattr(owner, name)) if is_late else die)
        with pytest.raises(Killed):
            ground.rotate()
    after = ground._replace(keyring=TokenKeyring(soft_token.parsed()))
    if sealed_meanwhile:
        for log in logs:
            record_committed(ground.raw, log, 2)
        after.seal()
        for log in logs:
            report = verified(log, ground.folder / f"{log.id}-meanwhile")
            assert report.verdict == "whole", report.findings
    assert after.rotate()
    new = after.keyring.newest
    is_done = name == "_destroy"  # the private half is gone: the next command begins a rotation
    for log in logs:
        introduced = ask(ground.raw, log, SAID)
        assert len(introduced) == (2 if is_done else 1)
        assert introduced[0][0] == vkey(log, old)
        assert introduced[-1][1] == vkey(log, new)
        report = verified(log, ground.folder / str(log.id), new)
        assert report.verdict == "whole", report.findings
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 1
    assert soft_token.count(ObjectClass.PUBLIC_KEY) == 1


def test_a_ledger_that_is_new_during_a_rotation_begins_with_the_new_key(
    ground: Ground, other_committed_log: OwnLog
) -> None:
    ground.keyring.make_next()
    record_committed(ground.raw, other_committed_log, 1)
    ground.seal()
    signed = [
        key
        for (key,) in ask(
            ground.raw, other_committed_log, "SELECT verifier_key FROM audit.checkpoint"
        )
    ]
    assert signed == [vkey(other_committed_log, ground.keyring.newest)]
    assert ground.rotate()
    assert ask(ground.raw, other_committed_log, SAID) == []


def test_the_command_rotates_in_the_token_that_the_setting_names(
    ground: Ground, soft_token: SoftToken, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.LEDGER_KEY_URI, settings.LEDGER_MLDSA_KEY_FILE = soft_token.uri(), None
    settings.LEDGER_KEY_FILE = ground.folder / "never" / "ledger.key"
    old = ground.keyring.newest
    with pytest.raises(CommandError, match="Is the sequencer running"):
        call_command("rotate_ledger_key", wait=0)
    ground.seal()
    call_command("rotate_ledger_key", wait=0)
    said = capsys.readouterr().out
    assert "the old one is destroyed" in said
    assert soft_token.pin not in said
    assert ground.signers()[0] == vkey(ground.log, old)
    assert ground.signers()[-1] == vkey(ground.log, ground.keyring.newest)
    assert vkey(ground.log, old) != vkey(ground.log, ground.keyring.newest)
    assert not settings.LEDGER_KEY_FILE.parent.exists()


def test_the_command_says_in_one_sentence_that_the_token_is_away_or_refuses_the_pin(
    soft_token: SoftToken, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.LEDGER_KEY_URI, settings.LEDGER_MLDSA_KEY_FILE = soft_token.uri(), None
    soft_token.vanish()
    with pytest.raises(CommandError, match="can't be used: the token's module says") as away:
        call_command("rotate_ledger_key", wait=0)
    assert isinstance(away.value.__cause__, LedgerKeyUnusable)
    soft_token.return_()
    soft_token.pin_file.write_text("12345678-wrong")
    with pytest.raises(CommandError, match="the token refuses the PIN in"):
        call_command("rotate_ledger_key", wait=0)
    assert capsys.readouterr().out == ""
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 0


def test_a_ledger_goes_over_from_a_file_to_a_token_and_to_another_file_when_it_is_told_so(
    raw: psycopg.Connection,
    committed_log: OwnLog,
    guard: Guard,
    tmp_path: Path,
    soft_token: SoftToken,
) -> None:
    in_file = FileKeyring(tmp_path / "keys" / "ledger.key", signing.load)
    before = Ground(raw, committed_log, guard, in_file, tmp_path)
    before.record()
    before.seal()
    after = before._replace(keyring=TokenKeyring(soft_token.parsed()))
    before.record()
    assert sequencer.seal(raw, committed_log.id) == 1
    with pytest.raises(KeyNotIntroduced):
        sequencer.publish(raw, committed_log.id, *after.keyring.held(), guard=guard)
    another = FileKeyring(tmp_path / "keys" / "another.key", signing.load)
    for ground in (after, before._replace(keyring=another)):
        signed = ground.signers()
        ground.record()
        ground.seal()
        assert ground.signers() == signed
        assert ground.rotate()
        assert ground.signers()[-1] == vkey(committed_log, ground.keyring.newest)
        report = verified(committed_log, tmp_path / str(len(signed)), ground.keyring.newest)
        assert report.verdict == "whole", report.findings


# The sequencer, as it runs


@contextlib.contextmanager
def _running(keys: Callable[[], Any], guard: Guard) -> Iterator[threading.Thread]:
    stop = threading.Event()
    parameters = run_sequencer.connection_parameters()
    thread = threading.Thread(target=run_sequencer.run, args=[stop, keys, guard, parameters])
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(20)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_while_its_token_is_away_entries_are_sealed_not_published_and_it_is_said_loudly(
    ground: Ground, soft_token: SoftToken, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A second key, which is at hand all the time, does not sign alone.
    second = FileKeyring(tmp_path / "mldsa.key", signing.load_mldsa)
    rings = (ground.keyring, second)

    def one(query: str) -> int:
        return int(ask(ground.raw, ground.log, query)[0][0])

    with _running(lambda: run_sequencer._all_keys(rings), ground.guard) as process:
        ground.record()
        _wait(lambda: one(SIZES) == 2)
        soft_token.vanish()
        ground.record(3)
        _wait(lambda: one(SEALED) == 5)
        _wait(lambda: caplog.text.count("and not published until it can be") >= 2)
        assert one(SIZES) == 2
        assert process.is_alive()
        soft_token.return_()
        _wait(lambda: one(SIZES) == 5)
        assert "The ledgers' signing keys can be used again." in caplog.text
    assert soft_token.pin not in caplog.text
    assert not process.is_alive()
    critical = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "pkcs11:token=ledger;object=countersign-ledger" in critical[0].getMessage()
    report = verified(ground.log, ground.folder / "bundle", ground.keyring.newest, second.newest)
    assert report.verdict == "whole", report.findings


@contextlib.contextmanager
def _process(log: OwnLog, soft_token: SoftToken) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The sequencer's process, and the file of what it says."""
    said = soft_token.folder / "said"
    with said.open("w") as output:
        process = _start(log, soft_token, "nowhere", "run_sequencer", output=output)
    try:
        yield process, said
        assert process.poll() is None, said.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, said.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_token_that_is_away_at_the_start_is_waited_for_and_entries_are_sealed_meanwhile(
    committed_log: OwnLog, raw: psycopg.Connection, soft_token: SoftToken
) -> None:
    soft_token.vanish()
    record_committed(raw, committed_log, 2)
    with _process(committed_log, soft_token) as (process, said):
        _wait(lambda: ask(raw, committed_log, SEALED) == [(2,)])
        _wait(lambda: said.read_text().count("and not published until it can be") >= 2)
        assert process.poll() is None
        assert ask(raw, committed_log, SIZES) == [(0,)]
        soft_token.return_()
        _wait(lambda: ask(raw, committed_log, SIZES) == [(2,)])
    assert "The ledgers' signing keys can be used again." in said.read_text()
    assert "Traceback" not in said.read_text()


def test_a_wrong_pin_at_the_start_is_tried_once_and_the_process_goes_on_with_the_right_one(
    committed_log: OwnLog, raw: psycopg.Connection, soft_token: SoftToken
) -> None:
    soft_token.pin_file.write_text("12345678-wrong")
    record_committed(raw, committed_log, 1)
    with _process(committed_log, soft_token) as (process, said):
        _wait(lambda: said.read_text().count("the token refuses the PIN in") >= 3)
        assert ask(raw, committed_log, SEALED) == [(1,)]
        assert ask(raw, committed_log, SIZES) == [(0,)]
        assert process.poll() is None
        assert said.read_text().count(LOGIN) == 1
        soft_token.write_pin()
        _wait(lambda: ask(raw, committed_log, SIZES) == [(1,)])
    assert said.read_text().count(LOGIN) == 2


@pytest.mark.parametrize("name", ["LEDGER_KEY_FILE", "LEDGER_MLDSA_KEY_FILE"])
def test_a_key_file_that_can_not_be_used_at_the_start_ends_the_process(
    settings: Any, tmp_path: Path, soft_token: SoftToken, name: str
) -> None:
    settings.LEDGER_KEY_FILE = settings.LEDGER_MLDSA_KEY_FILE = None
    settings.LEDGER_KEY_URI = None if name == "LEDGER_KEY_FILE" else soft_token.uri()
    unusable = tmp_path / "unusable.key"
    unusable.touch(mode=0o600)
    setattr(settings, name, unusable)
    with pytest.raises(LedgerKeyUnusable, match="not a PEM private key"):
        run_sequencer._check_files(keyrings.configured())
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 0  # nothing was asked of the token


def test_a_key_file_that_others_may_read_stops_publishing_and_not_the_process(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, tmp_path: Path
) -> None:
    ring = FileKeyring(tmp_path / "ledger.key", signing.load)
    ground = Ground(raw, committed_log, guard, ring, tmp_path)

    def published() -> int:
        return int(ask(raw, committed_log, SIZES)[0][0])

    with _running(ring.held, guard) as process:
        ground.record()
        _wait(lambda: published() == 1)
        aside = tmp_path / "aside"
        aside.touch(mode=0o644)
        aside.write_bytes(ring.path.read_bytes())
        aside.chmod(0o644)
        aside.replace(ring.path)
        ground.record()
        _wait(lambda: int(ask(raw, committed_log, SEALED)[0][0]) == 2)
        time.sleep(0.5)
        assert published() == 1
        assert process.is_alive()
        ring.path.chmod(0o600)
        _wait(lambda: published() == 2)


def test_a_cycle_in_which_the_token_goes_away_seals_all_ledgers_and_publishes_the_next_time(
    ground: Ground,
    other_committed_log: OwnLog,
    soft_token: SoftToken,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = ground.keyring.held()
    soft_token.vanish()
    ground.record()
    record_committed(ground.raw, other_committed_log, 3)
    with pytest.raises(LedgerKeyUnusable, match="the token's module says"):
        sequencer.run_once(ground.raw, *keys, guard=ground.guard)
    assert ask(ground.raw, ground.log, SEALED) == [(2,)]
    assert ask(ground.raw, other_committed_log, SEALED) == [(3,)]
    assert ask(ground.raw, ground.log, SIZES) == [(1,)]
    assert ask(ground.raw, other_committed_log, SIZES) == [(0,)]
    assert caplog.text == ""  # whoever asked says it, once for all ledgers
    soft_token.return_()
    ground.seal()
    assert ask(ground.raw, ground.log, SIZES) == [(2,)]
    assert ground.signers()[-1] == vkey(ground.log, ground.keyring.newest)


def test_a_key_that_is_there_and_does_not_sign_is_said_once_a_second_for_all_ledgers(
    ground: Ground,
    other_committed_log: OwnLog,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signing_key = ground.keyring.held()[0]

    def refuse(*_: Any) -> bytes:
        raise LedgerKeyUnusable(place="the token", reason="it does not sign")

    logs = (ground.log, other_committed_log)
    with _running(ground.keyring.held, ground.guard), monkeypatch.context() as patch:
        patch.setattr(type(signing_key), "sign", refuse)
        began = time.monotonic()
        for log in logs:
            record_committed(ground.raw, log, 1)
        _wait(lambda: caplog.text.count("it does not sign") >= 3)
        seconds = time.monotonic() - began
        assert caplog.text.count("it does not sign") <= seconds + 1
        assert "can be used again" not in caplog.text
        assert [ask(ground.raw, log, SEALED) for log in logs] == [[(2,)], [(1,)]]
        patch.undo()
        _wait(lambda: [ask(ground.raw, log, SIZES) for log in logs] == [[(2,)], [(1,)]])
        _wait(lambda: "The ledgers' signing keys can be used again." in caplog.text)
    assert "Traceback" not in caplog.text
    assert "can't be" not in caplog.text.replace("can't be used: it does not sign", "")


# A command on this test's log alone; the first argument is where it dies.
COMMAND = """
import os, signal, sys, uuid
import django
sys.path.insert(0, "platform")
os.environ["DJANGO_SETTINGS_MODULE"] = "countersign.settings"
django.setup()
from django.core.management import call_command
from audit import rotations, sequencer, token_keys, token_sessions

dies_at, log, *command = sys.argv[1:]
outstanding, recordable = sequencer.outstanding, rotations.recordable
sequencer.outstanding = lambda raw: [one for one in outstanding(raw) if str(one) == log]
rotations.recordable = lambda cursor: [one for one in recordable(cursor) if str(one.id) == log]
if dies_at != "nowhere":
    setattr(token_keys.TokenKeyring, dies_at, lambda *_: os.kill(os.getpid(), signal.SIGKILL))

class Told:
    # A token that says that it is logged in to, before it is.
    def __init__(self, token):
        self.token = token

    def __getattr__(self, name):
        if name == "open":
            print("A login.", file=sys.stderr, flush=True)
        return getattr(self.token, name)

tokens = token_sessions._tokens
token_sessions._tokens = lambda library: map(Told, tokens(library))
call_command(*command)
"""


def _start(
    log: OwnLog, soft_token: SoftToken, *command: str, output: Any = subprocess.PIPE
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, command[0], str(log.id), *command[1:]],
        cwd=ROOT,
        env=environment(
            COUNTERSIGN_LEDGER_KEY_URI=soft_token.uri(),
            COUNTERSIGN_LEDGER_GUARD_DIRECTORY=str(soft_token.folder / "guard"),
        ),
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.soak
def test_real_processes_outlive_their_token_and_a_rotation_that_is_killed_twice(
    committed_log: OwnLog, raw: psycopg.Connection, soft_token: SoftToken, tmp_path: Path
) -> None:
    def published() -> int:
        return int(ask(raw, committed_log, SIZES)[0][0])

    process = _start(committed_log, soft_token, "nowhere", "run_sequencer")
    try:
        record_committed(raw, committed_log, 2)
        _wait(lambda: published() == 2)
        soft_token.vanish()
        record_committed(raw, committed_log, 2)
        _wait(lambda: int(ask(raw, committed_log, SEALED)[0][0]) == 4)
        time.sleep(2)
        assert published() == 2
        soft_token.return_()
        _wait(lambda: published() == 4)
        said = []
        for dies_at, code in (("promote", -9), ("forget_old", -9), ("nowhere", 0)):
            command = _start(committed_log, soft_token, dies_at, "rotate_ledger_key")
            said.append(command.communicate(timeout=60)[0])
            assert command.returncode == code, said
        assert "the old one is destroyed" in said[-1]
        process.send_signal(signal.SIGTERM)
        said.append(process.communicate(timeout=10)[0])
    finally:
        process.kill()
    assert process.returncode == 0
    assert said[-1].count("and not published until it can be") >= 2
    assert soft_token.pin not in "".join(said)
    assert len(ask(raw, committed_log, SAID)) == 1
    report = verified(committed_log, tmp_path / "bundle", TokenKeyring(soft_token.parsed()).newest)
    assert report.verdict == "whole", report.findings
