"""The only place that tests how entries get into the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from own_logs import ROBO, NoteTaken, OwnLog, act_as

from audit import entries, ids, ledger, queries, roles
from audit.canonical import NotCanonical
from audit.entries import ActorMalformed, EntryTooLarge
from audit.errors import Problem
from audit.events import SYSTEM, Actor, Event, KindTaken, registry
from audit.ledger import NoLedger, NotInTransaction, OriginTaken


def test_an_entry_keeps_what_happened_who_acted_and_when(own_log: OwnLog):
    run = uuid4()
    made = ledger.record(NoteTaken(note="Grüße", number=3), actor=ROBO, correlation=run)
    entry = queries.access_entry(made)
    assert entry.event == {"note": "Grüße", "number": 3}
    assert (entry.kind, entry.correlation, entry.actor) == ("test.note_taken", run, ROBO)
    assert abs(datetime.now(UTC) - entry.recorded_at) < timedelta(minutes=1)
    assert not entry.sealed
    assert entry.index is entry.leaf_hash is None


def test_the_leaf_is_canonical_json_of_the_whole_entry(own_log: OwnLog):
    entry = queries.access_entry(ledger.record(NoteTaken(note="é\n"), actor=ROBO))
    moment = entries.rfc3339(entry.recorded_at)
    assert entry.leaf_bytes(own_log.origin).decode() == (
        '{"actor":{"id":"robo","kind":"client_app","on_behalf_of":"customer 7","version":null},'
        '"correlation":null,"event":{"note":"é\\n","number":0},'
        f'"id":"{entry.id}","kind":"test.note_taken","log":"{own_log.origin}","recorded_at":"{moment}"}}'
    )


def test_a_rolled_back_transaction_leaves_no_entry(own_log: OwnLog):
    with transaction.atomic():
        ledger.record(NoteTaken(note="never"), actor=SYSTEM)
        transaction.set_rollback(True)
    assert queries.status().pending == 0
    assert not queries.entries().exists()


def test_nothing_is_recorded_outside_a_transaction(committed_log: OwnLog):
    act_as(committed_log.role)
    with pytest.raises(NotInTransaction, match=r"test\.note_taken"):
        ledger.record(NoteTaken(note="loose"), actor=SYSTEM)
    with pytest.raises(NotInTransaction):
        ledger.open_log(role="anybody", origin="ledger.test/anybody")
    act_as("none")


def test_a_tenants_role_that_has_no_log_can_not_record(own_log: OwnLog):
    act_as("none")
    group = roles.tenants_of(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {own_log.role}_2 NOLOGIN IN ROLE {group}")
        cursor.execute(f"GRANT {own_log.role}_2 TO CURRENT_USER WITH SET TRUE")
    act_as(f"{own_log.role}_2")
    with pytest.raises(NoLedger, match=own_log.role):
        ledger.record(NoteTaken(note="whose?"), actor=SYSTEM)


@pytest.mark.parametrize("length", [62_400, 62_464 - 22])
def test_an_entry_may_be_large(own_log: OwnLog, length: int):
    made = ledger.record(NoteTaken(note="x" * length), actor=SYSTEM)
    leaf = queries.access_entry(made).leaf_bytes(own_log.origin)
    assert len(leaf) <= entries.MAX_ENTRY_BYTES


@pytest.mark.parametrize("length", [62_464 - 21, 65_536, 1_000_000])
def test_an_entry_that_is_too_large_is_refused(own_log: OwnLog, length: int):
    with pytest.raises(EntryTooLarge) as refusal:
        ledger.record(NoteTaken(note="x" * length), actor=SYSTEM)
    assert refusal.value.details["limit"] == entries.MAX_DATA_BYTES
    assert not queries.entries().exists()


def test_the_longest_header_fits_beside_the_largest_event(own_log: OwnLog):
    widest = Actor(kind="client_app", id='"' * 255, version="\\" * 255, on_behalf_of='"' * 255)
    note = NoteTaken(note="x" * (entries.MAX_DATA_BYTES - 22))
    made = entries.draft(note, actor=widest, correlation=uuid4())
    leaf = entries.leaf_bytes(made, origin="o" * 255, recorded_at=datetime.now(UTC))
    assert len(leaf) + 100 <= entries.MAX_ENTRY_BYTES


def test_what_is_not_canonical_is_not_recorded(own_log: OwnLog):
    with pytest.raises(NotCanonical, match='"/number"'):
        ledger.record(NoteTaken(note="half", number=0.5), actor=SYSTEM)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 256, "a\nb", "nul\0", "half\ud800"])
def test_an_actor_has_a_plain_short_name(own_log: OwnLog, name: str):
    with pytest.raises(ActorMalformed):
        ledger.record(NoteTaken(note="x"), actor=Actor(kind="member", id=name))


def test_a_zero_character_in_an_event_is_recorded_as_it_is(own_log: OwnLog):
    made = ledger.record(NoteTaken(note="nul\0"), actor=SYSTEM)
    assert queries.access_entry(made).event["note"] == "nul\0"


def test_a_log_is_opened_once(own_log: OwnLog, other_log: OwnLog):
    act_as("none")
    assert ledger.open_log(role=own_log.role, origin=own_log.origin) == own_log.id
    with pytest.raises(OriginTaken):
        ledger.open_log(role=own_log.role, origin=other_log.origin)


def test_opening_a_log_leaves_the_connection_who_it_was(own_log: OwnLog):
    with connection.cursor() as cursor:
        act_as("none")
        ledger.open_log(role=own_log.role, origin=own_log.origin)
        cursor.execute("SELECT current_user = session_user")
        assert cursor.fetchone() == (True,)


def test_a_kind_belongs_to_one_event():
    assert registry()["test.note_taken"] is NoteTaken
    with pytest.raises(KindTaken, match="NoteTaken"):
        type(Event)("NoteTakenAgain", (Event,), {}, kind="test.note_taken")


def test_an_event_is_frozen_and_has_only_its_fields():
    note = NoteTaken(note="fixed")
    with pytest.raises(AttributeError):
        note.note = "changed"  # type: ignore[misc]
    with pytest.raises(TypeError):
        NoteTaken(note="x", extra=1)  # type: ignore[call-arg]


def test_ids_are_version_7_and_rise():
    made = [ids.new_id() for _ in range(1_000)]
    assert made == sorted(set(made))
    assert {id_.version for id_ in made} == {7}
    assert isinstance(made[0], UUID)


def test_a_problem_says_itself():
    class Nothing(Problem):
        """There is no {thing}."""

        code = "nothing"
        status = 404

    problem = Nothing(thing="spoon")
    assert (str(problem), problem.code, problem.status) == ("There is no spoon.", "nothing", 404)
    assert problem.details == {"thing": "spoon"}
