"""The only place that tests what is read from the ledger."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from own_logs import ROBO, NoteTaken, OwnLog, publish

from audit import checkpoints, ledger, proofs, queries
from audit.events import SYSTEM
from audit.queries import EntryUnknown, NotPublished


def _record(count: int) -> None:
    for number in range(count):
        ledger.record(NoteTaken(note="n", number=number), actor=SYSTEM)


def test_entries_come_newest_first_with_their_leaves(own_log: OwnLog):
    _record(3)
    publish()
    ledger.record(NoteTaken(note="n", number=3), actor=SYSTEM)
    found = list(queries.entries())
    assert [entry.event["number"] for entry in found] == [3, 2, 1, 0]
    assert [entry.index for entry in found] == [None, 2, 1, 0]
    assert [entry.sealed for entry in found] == [False, True, True, True]
    assert all(
        entry.leaf.leaf_hash == proofs.leaf_hash(entry.leaf_bytes(own_log.origin))
        for entry in found[1:]
    )


def test_listing_entries_takes_one_query_for_all(own_log: OwnLog, django_assert_num_queries):
    _record(5)
    publish()
    with django_assert_num_queries(3):
        assert [entry.index for entry in queries.entries()] == [4, 3, 2, 1, 0]


def test_entries_are_found_by_kind_run_actor_text_and_time(own_log: OwnLog):
    run = uuid4()
    wanted = ledger.record(NoteTaken(note="RÜCKGABE 100%"), actor=ROBO, correlation=run)
    ledger.record(NoteTaken(note="other"), actor=SYSTEM)
    moment = queries.access_entry(wanted).recorded_at
    for filters in (
        {"correlation": run},
        {"actor": "robo"},
        {"text": "rückgabe"},
        {"text": "100%"},
        {"before": moment + timedelta(microseconds=1)},
        {"kind": "test.note_taken", "text": "RÜCK", "actor": "robo", "after": moment},
    ):
        assert [entry.id for entry in queries.entries(**filters)] == [wanted], filters
    assert queries.entries(kind="test.").count() == 2
    assert queries.entries(kind="test").count() == 0
    assert queries.entries(text="_ther").count() == 0
    assert queries.entries(before=moment).count() == 0


@pytest.mark.parametrize("entry", [uuid4(), "nonsense", "", "0" * 40])
def test_an_entry_that_is_not_there_is_unknown(own_log: OwnLog, entry: object):
    with pytest.raises(EntryUnknown) as refusal:
        queries.access_entry(entry)
    assert refusal.value.status == 404


def test_the_status_says_how_far_the_log_is(own_log: OwnLog):
    before = queries.status()
    assert (before.size, before.pending, before.checkpoint) == (0, 0, None)
    _record(3)
    assert queries.status().pending == 3
    publish()
    _record(1)
    after = queries.status()
    assert (after.origin, after.size, after.pending) == (own_log.origin, 3, 1)
    assert after.checkpoint is not None
    assert after.checkpoint.size == 3


def test_each_sealed_entry_is_proven_under_the_checkpoint(own_log: OwnLog):
    _record(7)
    publish()
    for entry in queries.entries():
        proof = queries.inclusion(entry)
        key = checkpoints.parse_key(proof.checkpoint.verifier_key)
        signed = checkpoints.verify(proof.checkpoint.note, key)
        leaf = proofs.leaf_hash(proof.leaf)
        assert proofs.verify_inclusion(leaf, proof.index, signed.size, proof.path, signed.root)
        assert signed.origin == own_log.origin


def test_an_entry_that_is_not_published_has_no_proof_yet(own_log: OwnLog):
    made = ledger.record(NoteTaken(note="new"), actor=SYSTEM)
    with pytest.raises(NotPublished):
        queries.inclusion(queries.access_entry(made))
    publish()
    made = ledger.record(NoteTaken(note="newer"), actor=SYSTEM)
    with pytest.raises(NotPublished):
        queries.inclusion(queries.access_entry(made))


def test_a_later_checkpoint_is_proven_to_continue_an_earlier_one(own_log: OwnLog):
    _record(5)
    early = publish()
    _record(6)
    late = publish()
    path = queries.consistency(5, 11)
    assert proofs.verify_consistency(5, 11, early.root, late.root, path)
    with pytest.raises(NotPublished):
        queries.consistency(5, 12)
