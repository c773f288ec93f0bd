"""The only place that tests that a database which lost signed entries is not signed again."""

from __future__ import annotations

import errno
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from own_logs import KEY, OwnLog, ask, record_committed
from own_losses import HALTS, SIZES, forgotten, sequence

from audit import checkpoints, durable_files, roles, sequencer
from audit.checkpoints import Checkpoint
from audit.guard import Guard, GuardUnusable
from audit.management.commands import run_sequencer
from audit.management.commands.run_sequencer import NotDurable, connection_parameters


def test_what_was_signed_is_kept_apart_from_the_database(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, tmp_path: Path
):
    assert guard.last(committed_log.id) is None
    record_committed(raw, committed_log, 3)
    sequence(raw, guard)
    ((note,),) = ask(raw, committed_log, "SELECT note FROM audit.checkpoint")
    file = tmp_path / "guard" / f"{committed_log.id}.checkpoint"
    assert file.read_text() == note
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    # Another process reads the same.
    last = Guard(tmp_path / "guard").last(committed_log.id)
    assert last == guard.last(committed_log.id) == checkpoints.read(note)


def test_a_database_that_lost_signed_entries_is_not_signed(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, lost: Checkpoint, caplog
):
    record_committed(raw, committed_log, 4)
    for _ in range(3):
        sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(3, 4, 3)]
    ((_, *halt),) = ask(raw, committed_log, HALTS)
    assert halt == [5, lost.root, 3]
    (loud,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert f"The ledger {committed_log.origin} is halted: 5 entries were signed" in loud.message
    assert "Was a backup restored?" in loud.message
    assert guard.last(committed_log.id) == lost


def test_it_is_not_signed_by_a_sequencer_that_starts_afresh_either(
    raw: psycopg.Connection, committed_log: OwnLog, lost: Checkpoint, tmp_path: Path
):
    record_committed(raw, committed_log, 4)
    stop = threading.Event()
    arguments = (stop, lambda: [KEY], Guard(tmp_path / "guard"), connection_parameters())
    thread = threading.Thread(target=run_sequencer.run, args=arguments)
    thread.start()
    try:
        for _ in range(200):
            if ask(raw, committed_log, HALTS):
                break
            stop.wait(0.02)
        stop.wait(0.1)
    finally:
        stop.set()
        thread.join(5)
    assert len(ask(raw, committed_log, HALTS)) == 1
    assert ask(raw, committed_log, SIZES) == [(3, 4, 3)]


def test_it_is_found_at_once_by_whoever_connects_also_where_nothing_waits(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, lost: Checkpoint, tmp_path: Path
):
    (tmp_path / "guard" / f"{UUID(int=0)}.checkpoint").write_text("of a log that is not there")
    sequencer.check_all(raw, guard)
    ((_, *halt),) = ask(raw, committed_log, HALTS)
    assert halt == [5, lost.root, 3]
    sequencer.check_all(raw, guard)
    assert len(ask(raw, committed_log, HALTS)) == 1


def test_looking_back_passes_over_no_file_and_goes_on_to_the_others(
    raw: psycopg.Connection, lost: Checkpoint, other_committed_log: OwnLog, tmp_path: Path, caplog
):
    (tmp_path / "guard" / f"{other_committed_log.id}.checkpoint").write_text("nonsense")
    sequencer.check_all(raw, Guard(tmp_path / "guard"))
    assert f"The ledger {other_committed_log.id} can't be sealed" in caplog.text
    assert f"The ledger {lost.origin} is halted" in caplog.text


def test_what_another_sequencer_signed_meanwhile_counts_too(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, tmp_path: Path
):
    record_committed(raw, committed_log, 3)
    sequence(raw, guard)
    waiting = Guard(tmp_path / "guard")
    known = waiting.last(committed_log.id)
    assert known is not None
    assert known.size == 3
    with forgotten(raw):
        record_committed(raw, committed_log, 2)
        sequence(raw, guard)
    record_committed(raw, committed_log, 1)
    sequence(raw, waiting)
    assert ask(raw, committed_log, SIZES) == [(3, 1, 3)]
    assert len(ask(raw, committed_log, HALTS)) == 1


def test_what_is_sealed_and_can_not_be_published_is_behind(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard
):
    with raw.transaction(force_rollback=True):
        _nothing_waits(raw, guard)
        assert not sequencer.is_behind(raw, seconds=0)
        record_committed(raw, committed_log, 2)
        assert sequencer.is_behind(raw, seconds=0)
        sequencer.seal(raw, committed_log.id)
        assert sequencer.is_behind(raw, seconds=0)
        assert not sequencer.is_behind(raw, seconds=60)
        sequencer.publish(raw, committed_log.id, KEY, guard=guard)
        assert not sequencer.is_behind(raw, seconds=0)


def _nothing_waits(raw: psycopg.Connection, guard: Guard) -> None:
    """Nothing is pending in any log, and everything that is sealed is published."""
    role = roles.sequencer_of(raw.info.dbname)
    with raw.transaction(), raw.cursor() as cursor, roles.acting_as(cursor, role):
        cursor.execute("DELETE FROM audit.pending")
        logs = [log for (log,) in cursor.execute("SELECT id FROM audit.log").fetchall()]
    for log in logs:
        sequencer.publish(raw, log, KEY, guard=guard)


def test_another_history_of_the_same_size_is_found_too(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, lost: Checkpoint, tmp_path: Path
):
    record_committed(raw, committed_log, 2)
    # A sequencer that knew of nothing has sealed and signed another five.
    sequence(raw, Guard(tmp_path / "elsewhere"))
    assert ask(raw, committed_log, SIZES) == [(5, 0, 5)]
    record_committed(raw, committed_log, 1)
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(5, 1, 5)]
    ((_, *halt),) = ask(raw, committed_log, HALTS)
    assert halt == [5, lost.root, 5]


def test_the_other_ledgers_go_on(
    raw: psycopg.Connection,
    committed_log: OwnLog,
    other_committed_log: OwnLog,
    guard: Guard,
    lost: Checkpoint,
):
    for log in (committed_log, other_committed_log):
        record_committed(raw, log, 2)
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(3, 2, 3)]
    assert ask(raw, other_committed_log, SIZES) == [(2, 0, 2)]
    assert ask(raw, other_committed_log, HALTS) == []


def test_a_sealed_batch_that_was_not_published_is_no_loss(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard
):
    record_committed(raw, committed_log, 3)
    sequencer.seal(raw, committed_log.id)
    with forgotten(raw):  # killed after the folder had it, and before the database did
        sequencer.publish(raw, committed_log.id, KEY, guard=guard)
    kept = guard.last(committed_log.id)
    sequence(raw, guard)
    assert guard.last(committed_log.id) == kept
    assert ask(raw, committed_log, SIZES) == [(3, 0, 3)]
    assert ask(raw, committed_log, HALTS) == []


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _garble(file: Path) -> None:
    file.write_bytes(b"\xff" + file.read_bytes())


def _cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def _put_a_folder_there(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [_empty, _garble, _cut_off, _put_a_folder_there])
def test_what_can_not_be_read_is_not_passed_over(
    raw: psycopg.Connection,
    committed_log: OwnLog,
    lost: Checkpoint,
    tmp_path: Path,
    damage: Callable[[Path], None],
):
    damage(tmp_path / "guard" / f"{committed_log.id}.checkpoint")
    fresh = Guard(tmp_path / "guard")
    with pytest.raises(GuardUnusable, match=str(committed_log.id)):
        fresh.last(committed_log.id)
    record_committed(raw, committed_log, 1)
    sequence(raw, fresh)
    assert ask(raw, committed_log, SIZES) == [(3, 1, 3)]


def test_a_damaged_file_is_said_and_holds_up_no_other_ledger(
    raw: psycopg.Connection,
    committed_log: OwnLog,
    other_committed_log: OwnLog,
    tmp_path: Path,
    caplog,
):
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / f"{committed_log.id}.checkpoint").write_text("nonsense")
    for log in (committed_log, other_committed_log):
        record_committed(raw, log, 1)
    sequence(raw, Guard(tmp_path / "guard"))
    assert ask(raw, committed_log, SIZES) == [(0, 1, None)]
    assert ask(raw, other_committed_log, SIZES) == [(1, 0, 1)]
    assert f"The ledger {committed_log.id} can't be sealed" in caplog.text


def test_what_can_not_be_kept_is_not_published(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, monkeypatch, caplog
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    record_committed(raw, committed_log, 2)
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "replace", full)
        cycle = sequencer.run_once(raw, KEY, guard=guard)
        assert cycle.failed > 0
        assert not cycle.is_busy
        sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(2, 0, None)]
    assert "No space left" in caplog.text
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(2, 0, 2)]


def test_a_server_whose_commits_do_not_last_is_refused(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard
):
    record_committed(raw, committed_log, 1)
    careless = connection_parameters() | {"options": "-c synchronous_commit=off"}
    with pytest.raises(NotDurable, match="synchronous_commit"):
        run_sequencer.run(threading.Event(), lambda: [KEY], guard, careless)
    assert ask(raw, committed_log, SIZES) == [(0, 1, None)]
    run_sequencer.check_durability(raw)


def test_replacing_a_file_is_all_or_nothing(tmp_path: Path, monkeypatch):
    path = tmp_path / "kept"
    durable_files.replace(path, b"old")
    durable_files.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def cut_off(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", cut_off)
    with pytest.raises(OSError, match="Input/output"):
        durable_files.replace(path, b"newer and longer")
    assert path.read_bytes() == b"new"


def test_a_log_that_nobody_writes_to_is_looked_at_when_a_sequencer_starts(
    raw: psycopg.Connection, committed_log: OwnLog, lost: Checkpoint, tmp_path: Path
):
    afresh = Guard(tmp_path / "guard")
    assert committed_log.id not in sequencer.outstanding(raw)
    assert sequencer.check_all(raw, afresh) == [committed_log.id]
    assert sequencer.check_all(raw, afresh) == [committed_log.id]
    ((_, *halt),) = ask(raw, committed_log, HALTS)
    assert halt == [5, lost.root, 3]
    assert committed_log.id in sequencer.halted(raw)


def test_a_log_that_the_database_does_not_even_name_is_told_when_a_sequencer_starts(
    raw: psycopg.Connection, committed_log: OwnLog, lost: Checkpoint, tmp_path: Path, caplog
):
    other = uuid4()
    kept = tmp_path / "guard" / f"{committed_log.id}.checkpoint"
    kept.rename(kept.with_name(f"{other}.checkpoint"))
    assert sequencer.check_all(raw, Guard(tmp_path / "guard")) == []
    (loud,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert f"The ledger {other} was signed, and the database has no such ledger." in loud.message


def test_what_can_not_be_read_of_one_log_keeps_no_sequencer_from_starting(
    raw: psycopg.Connection, committed_log: OwnLog, lost: Checkpoint, tmp_path: Path, caplog
):
    (tmp_path / "guard" / f"{committed_log.id}.checkpoint").write_bytes(b"")
    assert sequencer.check_all(raw, Guard(tmp_path / "guard")) == []
    assert f"The ledger {committed_log.id} can't be sealed" in caplog.text
