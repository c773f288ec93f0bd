"""The only place that tests how entries are sealed and published."""

from __future__ import annotations

import logging
import stat
import threading
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from bundle_folder import KEY
from own_logs import OwnLog, direct, record_committed
from psycopg.errors import UniqueViolation

from audit import checkpoints, proofs, sequencer, signing
from audit.checkpoints import VerifierKey
from audit.entries import ROW, leaf_of_row
from audit.management.commands import run_sequencer
from audit.management.commands.run_sequencer import connection_parameters
from audit.signing import LedgerKeyUnusable

LEAVES = f"""
SELECT index, leaf_hash, {ROW} FROM audit.leaf JOIN audit.log ON log.id = leaf.log_id
JOIN audit.entry ON entry.id = leaf.entry_id AND entry.log_id = leaf.log_id ORDER BY index
"""  # noqa: S608  (a constant of column names)


def _ask(raw: psycopg.Connection, log: OwnLog, query: str):
    with raw.transaction():
        raw.execute("SELECT set_config('role', %s, true)", [log.role])
        return raw.execute(query).fetchall()


def _assert_gap_free(raw: psycopg.Connection, log: OwnLog, size: int) -> None:
    """Every entry has one leaf, no index is left out, and each tree head is that of its leaves."""
    leaves = _ask(raw, log, LEAVES)
    assert [index for index, *_ in leaves] == list(range(size))
    assert len({row[2] for row in leaves}) == size
    hashes = [made for _, made, *_ in leaves]
    assert hashes == [proofs.leaf_hash(leaf_of_row(row[2:])) for row in leaves]
    for head_size, root in _ask(raw, log, "SELECT size, root FROM audit.tree_head"):
        assert proofs.root_of(hashes[:head_size]) == root
    assert _ask(raw, log, "SELECT count(*) FROM audit.pending") == [(0,)]


def test_entries_are_sealed_in_the_order_of_their_ids(committed_log: OwnLog):
    with direct() as raw:
        ids = record_committed(raw, committed_log, 5)
        assert sequencer.seal(raw, committed_log.id) == 5
        sealed = _ask(raw, committed_log, "SELECT entry_id FROM audit.leaf ORDER BY index")
        assert [id_ for (id_,) in sealed] == ids
        _assert_gap_free(raw, committed_log, 5)


def test_batches_continue_each_other(committed_log: OwnLog):
    with direct() as raw:
        record_committed(raw, committed_log, 7)
        assert [sequencer.seal(raw, committed_log.id, limit=3) for _ in range(4)] == [3, 3, 1, 0]
        record_committed(raw, committed_log, 2)
        assert sequencer.seal(raw, committed_log.id) == 2
        _assert_gap_free(raw, committed_log, 9)


def test_two_sequencers_at_once_leave_no_gap_and_no_double(committed_log: OwnLog):
    size = 400
    with direct() as writer:
        record_committed(writer, committed_log, size)

    def work(sealed: list[int], barrier: threading.Barrier) -> None:
        with direct() as raw:
            barrier.wait()
            while committed_log.id in sequencer.outstanding(raw):
                sealed.append(sequencer.seal(raw, committed_log.id, limit=7))
                sequencer.publish(raw, committed_log.id, KEY)

    sealed: list[list[int]] = [[], []]
    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=work, args=(mine, barrier)) for mine in sealed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(sum, sealed)) == size
    with direct() as raw:
        _assert_gap_free(raw, committed_log, size)


def test_a_log_that_another_sequencer_holds_is_left_to_it(committed_log: OwnLog):
    with direct() as one, direct() as other:
        record_committed(one, committed_log, 1)
        with one.transaction():
            one.execute(sequencer.LOCK, [committed_log.id])
            assert sequencer.seal(other, committed_log.id) == 0
        assert sequencer.seal(other, committed_log.id) == 1


def test_a_batch_that_is_cut_off_is_pending_again(committed_log: OwnLog):
    with direct() as raw:
        record_committed(raw, committed_log, 3)
        with raw.transaction(force_rollback=True):
            assert sequencer.seal(raw, committed_log.id) == 3
        assert _ask(raw, committed_log, "SELECT count(*) FROM audit.leaf") == [(0,)]
        assert sequencer.seal(raw, committed_log.id) == 3
        _assert_gap_free(raw, committed_log, 3)


def test_an_entry_that_is_not_committed_is_not_sealed(committed_log: OwnLog):
    with direct() as writer, direct() as raw:
        with writer.transaction(force_rollback=True):
            record_committed(writer, committed_log, 2)
            assert sequencer.seal(raw, committed_log.id) == 0
        assert sequencer.seal(raw, committed_log.id) == 0


def test_a_marker_that_a_tenant_forged_does_not_stop_its_log(committed_log: OwnLog):
    forge = "INSERT INTO audit.pending (log_id, entry_id) VALUES (%s, %s)"
    with direct() as raw:
        (sealed,) = record_committed(raw, committed_log, 1)
        sequencer.seal(raw, committed_log.id)
        with raw.transaction():
            raw.execute("SELECT set_config('role', %s, true)", [committed_log.role])
            for marked in (sealed, uuid4()):
                raw.execute(forge, [committed_log.id, marked])
        assert sequencer.seal(raw, committed_log.id) == 0
        record_committed(raw, committed_log, 2)
        assert sequencer.seal(raw, committed_log.id) == 2
        _assert_gap_free(raw, committed_log, 3)


def test_a_tree_head_is_published_signed_and_once(committed_log: OwnLog):
    with direct() as raw:
        record_committed(raw, committed_log, 3)
        assert sequencer.publish(raw, committed_log.id, KEY) is None
        sequencer.seal(raw, committed_log.id)
        assert committed_log.id in sequencer.outstanding(raw)
        published = sequencer.publish(raw, committed_log.id, KEY)
        assert sequencer.publish(raw, committed_log.id, KEY) is None
        assert committed_log.id not in sequencer.outstanding(raw)
        ((note, key),) = _ask(raw, committed_log, "SELECT note, verifier_key FROM audit.checkpoint")
    assert key == str(VerifierKey(committed_log.origin, KEY.public_key()))
    assert checkpoints.verify(note, checkpoints.parse_key(key)) == published


def test_a_log_that_can_not_be_sealed_does_not_hold_up_the_others(
    committed_log: OwnLog, caplog, monkeypatch
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
        assert sequencer.run_once(raw, KEY) == (2, 2)
    assert f"The ledger {broken} can't be sealed" in caplog.text


def test_the_sequencer_seals_all_logs_until_it_is_told_to_stop(committed_log: OwnLog, caplog):
    caplog.set_level(logging.INFO)
    stop = threading.Event()
    thread = threading.Thread(target=run_sequencer.run, args=(stop, KEY, connection_parameters()))
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


def test_the_sequencer_survives_a_lost_connection(committed_log: OwnLog, caplog, monkeypatch):
    monkeypatch.setattr(run_sequencer, "RECONNECT_SECONDS", 0.05)
    stop = threading.Event()
    parameters = {**connection_parameters(), "application_name": committed_log.role}
    thread = threading.Thread(target=run_sequencer.run, args=(stop, KEY, parameters))
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
        if _ask(raw, log, "SELECT max(size) FROM audit.checkpoint") == [(size,)]:
            return
        pause.wait(0.02)
    pytest.fail(f"the checkpoint over {size} entries was not published in 10 s")


def test_the_key_is_made_once_and_for_the_owner_alone(tmp_path: Path):
    path = tmp_path / "state" / "ledger.key"
    key = signing.load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.load(path).private_bytes_raw() == key.private_bytes_raw()
    assert [found.name for found in path.parent.iterdir()] == ["ledger.key"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path):
    path = tmp_path / "ledger.key"
    signing.load(path)
    path.chmod(0o640)
    with pytest.raises(LedgerKeyUnusable, match="0600"):
        signing.load(path)


def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path):
    path = tmp_path / "ledger.key"
    path.write_text("not a key")
    path.chmod(0o600)
    with pytest.raises(LedgerKeyUnusable, match="not a PEM"):
        signing.load(path)
    assert path.read_text() == "not a key"
