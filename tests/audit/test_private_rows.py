"""The only place that tests who sees what is private in the ledger, and how alone it goes."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from own_logs import Confided, OwnLog, act_as, publish
from psycopg.errors import InsufficientPrivilege

from audit import bodies, ledger, proofs, queries, roles, subjects
from audit.bodies import BodyUnreadable
from audit.events import SYSTEM, SubjectErased
from audit.models import Body, Entry

ERIKA = "person:Erika"
TERMS = {"amount": 1200}
PRIVATE = ["body", "subject_key"]
SELECT, DELETE = "SELECT log_id FROM audit.{}", "DELETE FROM audit.{}"
COUNT = "SELECT count(*) FROM audit.{}"


def _confide(person: str = ERIKA) -> Entry:
    confided = Confided(topic="t", words="in confidence", terms=TERMS)
    return queries.access_entry(ledger.record(confided, actor=SYSTEM, person=person))


def _denied(role: str, statement: str) -> bool:
    act_as("none")
    act_as(role)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError as problem:
        if not isinstance(problem.__cause__, InsufficientPrivilege):
            raise
        return True
    return False


def _rows(role: str, table: str) -> int:
    act_as("none")
    act_as(role)
    with connection.cursor() as cursor:
        cursor.execute(COUNT.format(table))
        return cursor.fetchone()[0]


def _sequencer() -> str:
    return roles.sequencer_of(connection.settings_dict["NAME"])


def _owner() -> str:
    return roles.owner_of(connection.settings_dict["NAME"])


def _erase(*ids: UUID) -> UUID:
    """Record that these subjects are erased, which is what erases them."""
    event = SubjectErased(
        subjects=[str(id_) for id_ in ids], legal_basis="asked for", approvers=[], receipts={}
    )
    return ledger.record(event, actor=SYSTEM)


def test_another_tenant_sees_no_body_no_key_no_tile_and_no_halt(own_log: OwnLog, other_log: OwnLog):
    _confide()
    act_as("none")
    act_as(_sequencer())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit.tile (log_id, level, index, hashes, root) VALUES (%s, 0, 0, %s, %s)",
            [own_log.id, bytes(8192), bytes(32)],
        )
        cursor.execute(
            "INSERT INTO audit.halt (id, log_id, signed_size, signed_root, size, reason)"
            " VALUES (%s, %s, 2, %s, 1, 'Lost.')",
            [uuid4(), own_log.id, bytes(32)],
        )
    for table in (*PRIVATE, "tile", "halt"):
        assert (_rows(own_log.role, table), _rows(other_log.role, table)) == (1, 0), table


def test_another_tenants_name_code_finds_nothing(own_log: OwnLog, other_log: OwnLog):
    mine = subjects.of(ERIKA)
    act_as(other_log.role)
    assert subjects.find(ERIKA) is None
    assert subjects.of(ERIKA).id != mine.id


@pytest.mark.parametrize("table", PRIVATE)
def test_the_sequencer_reads_neither_bodies_nor_keys(own_log: OwnLog, table: str):
    assert _denied(_sequencer(), SELECT.format(table))
    assert _denied(_sequencer(), DELETE.format(table))


@pytest.mark.parametrize("table", PRIVATE)
def test_a_tenant_deletes_neither_bodies_nor_keys(own_log: OwnLog, table: str):
    _confide()
    assert _denied(own_log.role, DELETE.format(table))
    assert _rows(own_log.role, table) == 1


@pytest.mark.parametrize("table", PRIVATE)
def test_the_owner_deletes_neither_bodies_nor_keys(own_log: OwnLog, table: str):
    _confide()
    assert _denied(_owner(), DELETE.format(table))
    assert _rows(own_log.role, table) == 1


def test_who_is_erased_loses_bodies_and_keys_and_nobody_else_does(own_log: OwnLog):
    gone, kept = _confide(), _confide("person:Max")
    assert gone.subject is not None
    publish()
    leaf = queries.access_entry(gone.id).leaf
    _erase(gone.subject)
    assert [body.entry_id for body in Body.objects.all()] == [kept.id]
    assert subjects.find(ERIKA) is None
    assert subjects.of("person:Max").id == kept.subject
    assert queries.entries(kind="test.confided").count() == 2
    assert proofs.leaf_hash(queries.access_entry(gone.id).leaf_bytes(own_log.origin)) == bytes(
        leaf.leaf_hash
    )


def test_an_erasure_that_is_rolled_back_erases_nothing(own_log: OwnLog):
    made = _confide()
    with transaction.atomic():
        _erase(made.subject)
        transaction.set_rollback(True)
    assert [_rows(own_log.role, table) for table in PRIVATE] == [1, 1]


def test_a_tenant_can_not_erase_what_is_anothers(own_log: OwnLog, other_log: OwnLog):
    made = _confide()
    act_as(other_log.role)
    _erase(made.subject)
    act_as(own_log.role)
    assert [_rows(own_log.role, table) for table in PRIVATE] == [1, 1]


def test_once_its_key_is_gone_a_body_says_nothing(own_log: OwnLog):
    entry = _confide()
    sealed = bytes(Body.objects.get(entry_id=entry.id).sealed)
    before = subjects.of(ERIKA)
    _erase(before.id)
    after = subjects.of(ERIKA)
    assert after.id != before.id
    assert after.commitment(TERMS) != entry.event["terms"]
    with pytest.raises(BodyUnreadable):
        bodies.open_(sealed, after, entry.id)
