"""The only place that tests what a witness keeps: its state, its key file, through kill -9."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from bundle_folder import KEY, ORIGIN
from own_witness import LOG, NEWEST, NOW, Client, GrowingLog, end, serving, start

from audit import checkpoints
from audit.checkpoints import KeyKind, VerifierKey
from audit.witness import keys
from audit.witness.keys import WitnessKeyUnusable
from audit.witness.state import State, StateUnusable
from tests.environment import ROOT

ACME = GrowingLog("acme")


# What it keeps


def test_the_state_outlives_the_process(tmp_path, own):
    for old, new in ((0, 5), (5, 9), (9, 9)):
        with serving(tmp_path / "state", own, [LOG]) as client:
            assert client.submit(ACME.submission(old, new)).status == 200
    with serving(tmp_path / "state", own, [LOG]) as client:
        assert client.submit(ACME.forked_at(3).submission(9, 12)).status == 422
        assert client.submit(ACME.submission(0, 5)).text == "9\n"


def test_a_checkpoint_is_on_the_disk_before_it_takes_the_place_of_the_old_one(
    tmp_path, own, monkeypatch
):
    """The file, then its name, then the directory: each is asked for in this order."""
    steps: list[str] = []
    state = State(tmp_path, [key.verifier for key in own], [ORIGIN])
    note = ACME.note(5)
    cosigned = checkpoints.with_signatures(note, checkpoints.cosign(note, *own, seconds=NOW))
    fsync, replace = os.fsync, Path.replace

    def seen_fsync(descriptor: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def seen_replace(path: Path, target: Path) -> Path:
        steps.append("name")
        assert path.read_text() == cosigned
        return replace(path, target)

    monkeypatch.setattr("os.fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    state.remember(cosigned)
    state.close()
    assert steps == ["file", "name", "directory"]


def test_a_disk_that_refuses_means_no_cosignature(tmp_path, own, monkeypatch):
    with serving(tmp_path / "state", own, [LOG]) as client:
        client.submit(ACME.submission(0, 5))
        with monkeypatch.context() as broken:
            broken.setattr("os.fsync", _no_space)
            reply = client.submit(ACME.submission(5, 9))
        assert reply.status == 500
        assert "\u2014" not in reply.text
        assert client.submit(ACME.submission(0, 1)).text == "5\n"
        assert client.submit(ACME.submission(5, 9)).status == 200


def _no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_state_that_was_touched_is_refused(tmp_path, own):
    state = tmp_path / "state"
    with serving(state, own, [LOG]) as client:
        client.submit(ACME.submission(0, 5))
    (path,) = state.glob("*.checkpoint")
    whole = path.read_bytes()
    for touched in (whole.replace(b"\n5\n", b"\n3\n"), whole[:-9], b"", ACME.note(3).encode()):
        path.write_bytes(touched)
        with pytest.raises(StateUnusable):
            State(state, [key.verifier for key in own], [ORIGIN])
    path.write_bytes(whole)
    State(state, [key.verifier for key in own], [ORIGIN]).close()


def test_another_logs_state_is_refused(tmp_path, own):
    state = tmp_path / "state"
    globex = GrowingLog("globex", origin="ledger.test/globex")
    with serving(state, own, [VerifierKey("ledger.test/globex", KEY.public_key())]) as client:
        client.submit(globex.submission(0, 5))
    (path,) = state.glob("*.checkpoint")
    path.rename(state / f"{hashlib.sha256(ORIGIN.encode()).hexdigest()}.checkpoint")
    with pytest.raises(StateUnusable, match="globex"):
        State(state, [key.verifier for key in own], [ORIGIN])


def test_a_directory_has_one_witness(tmp_path, own):
    verifiers = [key.verifier for key in own]
    first = State(tmp_path, verifiers, [ORIGIN])
    with pytest.raises(StateUnusable, match="another witness"):
        State(tmp_path, verifiers, [ORIGIN])
    first.close()
    State(tmp_path, verifiers, [ORIGIN]).close()


def test_half_a_file_left_by_a_crash_is_not_looked_at(tmp_path, own):
    state = tmp_path / "state"
    with serving(state, own, [LOG]) as client:
        client.submit(ACME.submission(0, 5))
    (path,) = state.glob("*.checkpoint")
    path.with_name(f".{path.name}.new").write_bytes(path.read_bytes()[:40])
    with serving(state, own, [LOG]) as client:
        assert client.submit(ACME.submission(5, 9)).status == 200


# The key file


def test_a_key_file_is_for_its_owner_alone(key_file):
    assert key_file.stat().st_mode & 0o777 == 0o600
    for mode in (0o640, 0o604, 0o660):
        key_file.chmod(mode)
        with pytest.raises(WitnessKeyUnusable, match="0600"):
            keys.load(key_file)


def test_a_key_file_is_never_overwritten(key_file):
    before = key_file.read_bytes()
    with pytest.raises(WitnessKeyUnusable, match="exists"):
        keys.make("witness.test/carol", key_file)
    assert key_file.read_bytes() == before


def test_a_key_that_a_crash_or_a_full_disk_cuts_short_is_not_there(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(WitnessKeyUnusable, match="No space"):
            keys.make("witness.test/carol", tmp_path / "witness.key")
    assert list(tmp_path.iterdir()) == []
    assert keys.make("witness.test/carol", tmp_path / "witness.key")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "n" * 256])
def test_a_key_needs_a_name_that_fits(tmp_path, name):
    with pytest.raises(WitnessKeyUnusable, match="name"):
        keys.make(name, tmp_path / "witness.key")
    assert not (tmp_path / "witness.key").exists()


def test_a_damaged_key_file_is_refused(key_file):
    text = key_file.read_text()
    damaged = [
        "",
        "\n",
        text.replace("PRIVATE", "PRIVAT"),
        text.replace("carol", "mallory", 1),
        text[:-9],
        text.replace("\n", "x\n", 1),
        # A log's kind of key, which has signed no promise to look before it signs.
        keys._line("witness.test/carol", KeyKind.ED25519, bytes(32)),
    ]
    for written in damaged:
        assert written != text
        key_file.write_text(written)
        with pytest.raises(WitnessKeyUnusable):
            keys.load(key_file)


# The process


@pytest.mark.soak
def test_a_process_that_is_killed_at_any_moment_keeps_its_word(tmp_path, key_file, own):
    """Killed ten times under load: what was cosigned is remembered, and one root a size."""
    chance, acknowledged = random.Random(5), 0
    fork = ACME.forked_at(0)
    for _ in range(10):
        process, client = start(key_file, tmp_path / "state", LOG)
        try:
            known = _remembered(client)
            assert known >= acknowledged
            timer = threading.Timer(chance.random() * 0.05, process.kill)
            timer.start()
            acknowledged = max(known, _grow(client, known))
            timer.join()
        finally:
            end(process)
    process, client = start(key_file, tmp_path / "state", LOG)
    try:
        newest = _remembered(client)
        assert newest >= acknowledged > 0
        assert client.submit(fork.submission(newest, 64)).status in {400, 422}
        assert client.submit(ACME.submission(newest, newest)).status == 200
    finally:
        end(process)


def _remembered(client: Client) -> int:
    reply = client.ask("GET", NEWEST)
    return checkpoints.verify(reply.text, LOG).size if reply.status == 200 else 0


def _grow(client: Client, known: int) -> int:
    """Submit ever larger trees until the witness is gone; the last size it cosigned."""
    for new in range(known, len(ACME.leaves) + 1):
        try:
            reply = client.submit(ACME.submission(known, new))
        except (OSError, http.client.HTTPException):
            break
        assert reply.status == 200
        known = new
    return known


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_process_ends_cleanly_when_told(tmp_path, key_file, told):
    process, client = start(key_file, tmp_path / "state", LOG)
    try:
        with socket.create_connection(("127.0.0.1", int(client.url.rpartition(":")[2]))):
            assert client.submit(ACME.submission(0, 5)).status == 200
            process.send_signal(told)
            assert process.wait(10) == 0
    finally:
        end(process)


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "audit.witness", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_key_is_made_on_the_command_line(tmp_path):
    made = _run("--new-key", "witness.test/carol", tmp_path / "k")
    assert made.returncode == 0
    assert made.stdout.splitlines() == [str(key.verifier) for key in keys.load(tmp_path / "k")]
    again = _run("--new-key", "witness.test/carol", tmp_path / "k")
    assert again.returncode == 1
    assert "can't be used" in again.stderr


def test_a_process_that_can_not_start_says_why(tmp_path, key_file):
    state = ("--state", tmp_path / "state", "--log", LOG)
    key_file.chmod(0o644)
    lax = _run("--key", key_file, *state)
    assert (lax.returncode, "0600" in lax.stderr) == (1, True)
    key_file.chmod(0o600)
    no_log = _run("--key", key_file, "--state", tmp_path / "state", "--log", "nonsense")
    assert (no_log.returncode, "malformed" in no_log.stderr) == (1, True)
    assert _run("--key", key_file).returncode == 2


def test_the_witness_needs_neither_django_nor_the_rest_of_the_product():
    listed = "import sys, audit.witness.__main__; print('\\n'.join(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", listed], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = ran.stdout.split()
    assert {name.partition(".")[0] for name in loaded} & {"django", "msgspec", "psycopg"} == set()
    ours = {name for name in loaded if name.startswith("audit.")}
    assert {name for name in ours if not name.startswith("audit.witness")} == {
        "audit.base64_text",
        "audit.checkpoint_text",
        "audit.checkpoints",
        "audit.durable_files",
        "audit.errors",
        "audit.note_keys",
        "audit.notes",
        "audit.proofs",
        "audit.submissions",
    }
