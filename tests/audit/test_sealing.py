"""The only place that tests how entries are sealed and published."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from own_logs import KEY, NoteTaken, OwnLog, ask, direct, record_all, record_committed
from psycopg.errors import UniqueViolation

from audit import checkpoints, proofs, roles, rotations, sequencer
from audit.checkpoints import VerifierKey
from audit.entries import ROW, draft, leaf_of_row
from audit.events import SYSTEM
from audit.guard import Guard
from audit.management.commands import run_sequencer
from audit.management.commands.run_sequencer import connection_parameters

LEAVES = f"""
SELECT leaf.index, leaf.leaf_hash, {ROW} FROM audit.leaf JOIN audit.log ON log.id = leaf.log_id
JOIN audit.entry ON entry.id = leaf.entry_id AND entry.log_id = leaf.log_id ORDER BY leaf.index
"""  # noqa: S608  (a constant of column names)


def _assert_gap_free(raw: psycopg.Connection, log: OwnLog, size: int) -> None:
    """Every entry has one leaf, no index is left out, and each tree head is that of its leaves."""
    leaves = ask(raw, log, LEAVES)
    assert [index for index, *_ in leaves] == list(range(size))
    assert len({row[2] for row in leaves}) == size
    hashes = [made for _, made, *_ in leaves]
    assert hashes == [proofs.leaf_hash(leaf_of_row(row[2:])) for row in leaves]
    for head_size, root in ask(raw, log, "SELECT size, root FROM audit.tree_head"):
        assert proofs.root_of(hashes[:head_size]) == root
    assert ask(raw, log, "SELECT count(*) FROM audit.pending") == [(0,)]


def test_entries_are_sealed_in_the_order_of_recording_whatever_their_ids(committed_log: OwnLog):
    early, late = ([draft(NoteTaken(note="n"), actor=SYSTEM) for _ in range(3)] for _ in range(2))
    with direct() as raw:
        record_all(raw, committed_log, late[::-1])
        record_all(raw, committed_log, early)
        assert [sequencer.seal(raw, committed_log.id, limit=4) for _ in range(2)] == [4, 2]
        sealed = ask(raw, committed_log, "SELECT entry_id FROM audit.leaf ORDER BY index")
        assert [id_ for (id_,) in sealed] == [made.id for made in (*late[::-1], *early)]
        _assert_gap_free(raw, committed_log, 6)


def test_the_entries_of_a_correlation_are_sealed_in_their_sequence(committed_log: OwnLog):
    runs = [uuid4() for _ in range(5)]
    drafts = [draft(NoteTaken(note="n"), actor=SYSTEM, correlation=run) for run in runs * 20]
    with direct() as raw:
        record_all(raw, committed_log, drafts)
        while sequencer.seal(raw, committed_log.id, limit=7):
            pass
        placed = ask(
            raw,
            committed_log,
            "SELECT correlation, sequence FROM audit.leaf ORDER BY index",
        )
    for run in runs:
        assert [sequence for of, sequence in placed if of == run] == list(range(20))


def test_two_logs_may_hold_entries_of_one_id(committed_log: OwnLog, other_committed_log: OwnLog):
    same = [draft(NoteTaken(note="mine"), actor=SYSTEM)]
    with direct() as raw:
        for log in (committed_log, other_committed_log):
            record_all(raw, log, same)
            assert sequencer.seal(raw, log.id) == 1
            _assert_gap_free(raw, log, 1)


def test_batches_continue_each_other(committed_log: OwnLog):
    with direct() as raw:
        record_committed(raw, committed_log, 7)
        assert [sequencer.seal(raw, committed_log.id, limit=3) for _ in range(4)] == [3, 3, 1, 0]
        record_committed(raw, committed_log, 2)
        assert sequencer.seal(raw, committed_log.id) == 2
        _assert_gap_free(raw, committed_log, 9)


def test_two_sequencers_at_once_leave_no_gap_and_no_double(committed_log: OwnLog, tmp_path: Path):
    size = 150
    with direct() as writer:
        record_committed(writer, committed_log, size)

    def work(sealed: list[int], barrier: threading.Barrier, kept: Path) -> None:
        guard = Guard(kept)
        with direct() as raw:
            barrier.wait()
            while committed_log.id in sequencer.outstanding(raw):
                sealed.append(sequencer.seal(raw, committed_log.id, limit=7))
                sequencer.publish(raw, committed_log.id, KEY, guard=guard)

    sealed: list[list[int]] = [[], []]
    barrier, kept = threading.Barrier(2), tmp_path / "guard"
    threads = [threading.Thread(target=work, args=(mine, barrier, kept)) for mine in sealed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(sum, sealed)) == size
    with direct() as raw:
        _assert_gap_free(raw, committed_log, size)
    last = Guard(kept).last(committed_log.id)
    assert last is not None
    assert last.size == size


def test_a_log_that_another_sequencer_holds_is_left_to_it(committed_log: OwnLog, guard: Guard):
    with direct() as one, direct() as other:
        record_committed(one, committed_log, 1)
        with one.transaction():
            one.execute(sequencer.LOCK, [committed_log.id])
            assert sequencer.seal(other, committed_log.id) == 0
        assert sequencer.seal(other, committed_log.id) == 1
        with one.transaction():
            one.execute(sequencer.LOCK, [committed_log.id])
            assert sequencer.publish(other, committed_log.id, KEY, guard=guard) is None
        assert sequencer.publish(other, committed_log.id, KEY, guard=guard) is not None


def test_a_batch_that_is_cut_off_is_pending_again(committed_log: OwnLog):
    with direct() as raw:
        record_committed(raw, committed_log, 3)
        with raw.transaction(force_rollback=True):
            assert sequencer.seal(raw, committed_log.id) == 3
        assert ask(raw, committed_log, "SELECT count(*) FROM audit.leaf") == [(0,)]
        assert sequencer.seal(raw, committed_log.id) == 3
        _assert_gap_free(raw, committed_log, 3)


def test_an_entry_that_is_not_committed_is_not_sealed(committed_log: OwnLog):
    with direct() as writer, direct() as raw:
        with writer.transaction(force_rollback=True):
            record_committed(writer, committed_log, 2)
            assert sequencer.seal(raw, committed_log.id) == 0
        assert sequencer.seal(raw, committed_log.id) == 0


def test_a_marker_without_its_entry_stops_its_log_and_names_it(
    committed_log: OwnLog, other_committed_log: OwnLog, guard: Guard, caplog
):
    with direct() as raw, raw.transaction(force_rollback=True):
        for log in (committed_log, other_committed_log):
            record_committed(raw, log, 1)
        missing = uuid4()
        with roles.acting_as(raw.cursor(), roles.owner_of(raw.info.dbname)):
            raw.execute(
                "INSERT INTO audit.pending (log_id, entry_id) VALUES (%s, %s)",
                [committed_log.id, missing],
            )
        assert sequencer.run_once(raw, KEY, guard=guard).sealed == 1
        assert ask(raw, committed_log, "SELECT count(*)::int FROM audit.pending") == [(2,)]
    assert f"The entry {missing} of the ledger {committed_log.id} waits to be sealed" in caplog.text


def test_a_tree_head_is_published_signed_and_once(committed_log: OwnLog, guard: Guard):
    with direct() as raw:
        record_committed(raw, committed_log, 3)
        assert sequencer.publish(raw, committed_log.id, KEY, guard=guard) is None
        sequencer.seal(raw, committed_log.id)
        assert committed_log.id in sequencer.outstanding(raw)
        published = sequencer.publish(raw, committed_log.id, KEY, guard=guard)
        assert sequencer.publish(raw, committed_log.id, KEY, guard=guard) is None
        assert committed_log.id not in sequencer.outstanding(raw)
        ((note, key),) = ask(raw, committed_log, "SELECT note, verifier_key FROM audit.checkpoint")
    assert key == str(VerifierKey(committed_log.origin, KEY.public_key()))
    assert checkpoints.verify(note, checkpoints.parse_key(key)) == published


def test_a_tree_head_is_signed_with_each_key_and_with_a_new_one_later(
    committed_log: OwnLog, guard: Guard
):
    other, new = MLDSA44PrivateKey.generate(), Ed25519PrivateKey.generate()
    with direct() as raw:
        for keys in ((KEY, other), (new,)):
            record_committed(raw, committed_log, 1)
            if new in keys:
                rotations.introduce(new)
            sequencer.seal(raw, committed_log.id)
            sequencer.publish(raw, committed_log.id, *keys, guard=guard)
        notes = "SELECT note, verifier_key FROM audit.checkpoint ORDER BY size"
        signed = [(note, text.split("\n")) for note, text in ask(raw, committed_log, notes)]
    assert [len(keys) for _, keys in signed] == [2, 1]
    assert len({key for _, keys in signed for key in keys}) == 3
    for note, keys in signed:
        for key in keys:
            assert checkpoints.verify(note, checkpoints.parse_key(key)) == checkpoints.read(note)


def test_a_log_that_can_not_be_sealed_does_not_hold_up_the_others(
    committed_log: OwnLog, guard: Guard, caplog, monkeypatch
):
    honest = sequencer.seal
    broken = uuid4()

    def seal(raw, log, *, limit):
        if log == broken:
            raise UniqueViolation("fenced")
        return honest(raw, log, limit=limit)

    monkeypatch.setattr(sequencer, "seal", seal)
    monkeypatch.setattr(sequencer, "outstanding", lambda _: [broken, committed_log.id])
    with direct() as raw:
        record_committed(raw, committed_log, 2)
        assert sequencer.run_once(raw, KEY, guard=guard) == (2, 2, 1)
    assert f"The ledger {broken} can't be sealed" in caplog.text


def test_a_log_that_can_not_be_published_is_said_to_be_sealed(
    committed_log: OwnLog, guard: Guard, caplog, monkeypatch
):
    def publish(*_, **__):
        raise OSError("the guard's disk is full")

    monkeypatch.setattr(sequencer, "publish", publish)
    with direct() as raw:
        record_committed(raw, committed_log, 2)
        assert sequencer.run_once(raw, KEY, guard=guard) == (1, 2, 1)
    assert f"The ledger {committed_log.id} is sealed, and can't be published." in caplog.text
    assert "can't be sealed" not in caplog.text
    assert "the guard's disk is full" in caplog.text


def test_the_sequencer_seals_all_logs_until_it_is_told_to_stop(
    committed_log: OwnLog, guard: Guard, caplog
):
    caplog.set_level(logging.INFO)
    stop = threading.Event()
    arguments = (stop, lambda: [KEY], guard, connection_parameters())
    thread = threading.Thread(target=run_sequencer.run, args=arguments)
    thread.start()
    try:
        with direct() as raw:
            record_committed(raw, committed_log, 25)
            _wait_until_published(raw, committed_log, 25)
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()
    assert "The sequencer ended." in caplog.messages


def test_the_sequencer_survives_a_lost_connection(
    committed_log: OwnLog, guard: Guard, caplog, monkeypatch
):
    monkeypatch.setattr(run_sequencer, "RECONNECT_SECONDS", 0.05)
    stop = threading.Event()
    parameters = {**connection_parameters(), "application_name": committed_log.role}
    thread = threading.Thread(
        target=run_sequencer.run, args=(stop, lambda: [KEY], guard, parameters)
    )
    thread.start()
    try:
        with direct() as raw:
            record_committed(raw, committed_log, 2)
            _wait_until_published(raw, committed_log, 2)
            raw.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s",
                [committed_log.role],
            )
            record_committed(raw, committed_log, 3)
            _wait_until_published(raw, committed_log, 5)
            _assert_gap_free(raw, committed_log, 5)
    finally:
        stop.set()
        thread.join(5)
    assert "Trying again every second" in caplog.text


def _wait_until_published(raw: psycopg.Connection, log: OwnLog, size: int) -> None:
    pause = threading.Event()
    for _ in range(500):
        if ask(raw, log, "SELECT max(size) FROM audit.checkpoint") == [(size,)]:
            return
        pause.wait(0.02)
    pytest.fail(f"the checkpoint over {size} entries was not published in 10 s")
