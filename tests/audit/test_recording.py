"""The only place that tests how entries get into the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from django.db import connection, transaction
from own_logs import ROBO, Confided, NoteTaken, OwnLog, act_as, publish

from audit import canonical, entries, ids, ledger, queries, roles, subjects
from audit.canonical import NotCanonical
from audit.entries import ActorMalformed, EntryTooLarge, Stamp
from audit.errors import Problem
from audit.events import SYSTEM, Actor, Event, KindTaken, registry
from audit.ledger import NotInTransaction, OriginTaken
from audit.roles import NoLedger


def test_an_entry_keeps_what_happened_who_acted_and_when(own_log: OwnLog):
    run = uuid4()
    made = ledger.record(NoteTaken(note="Grüße", number=3), actor=ROBO, correlation=run)
    entry = queries.access_entry(made)
    assert entry.event == {"note": "Grüße", "number": 3}
    assert (entry.kind, entry.correlation) == ("test.note_taken", run)
    assert entry.actor == msgspec.structs.replace(ROBO, on_behalf_of=_customer_7())
    assert abs(datetime.now(UTC) - entry.recorded_at) < timedelta(minutes=1)
    assert not entry.sealed
    assert entry.index is None


def _customer_7() -> str:
    return str(subjects.of("person:customer 7").id)


def test_the_leaf_is_canonical_json_of_the_whole_entry(own_log: OwnLog):
    robo = msgspec.structs.replace(ROBO, means="service_key")
    run = uuid4()
    ledger.record(NoteTaken(note="first"), actor=SYSTEM, correlation=run)
    made = ledger.record(NoteTaken(note="é\n"), actor=robo, correlation=run)
    publish()
    second, first = queries.entries()
    assert second.id == made
    occurred, recorded = entries.rfc3339(second.occurred_at), entries.rfc3339(second.recorded_at)
    leaf = second.leaf_bytes(own_log.origin)
    assert leaf.decode() == (
        '{"actor":{"id":"robo","kind":"client_app","means":"service_key",'
        f'"on_behalf_of":"{_customer_7()}","version":null}},'
        f'"correlation":"{run}","event":{{"note":"é\\n","number":0}},"id":"{made}",'
        f'"kind":"test.note_taken","log":"{own_log.origin}","occurred_at":"{occurred}",'
        f'"previous":"{first.leaf.leaf_hash.hex()}","recorded_at":"{recorded}","sequence":1,'
        f'"subject":"{_customer_7()}"}}'
    )
    assert canonical.encode(json.loads(leaf)) == leaf


def test_a_rolled_back_transaction_leaves_no_entry(own_log: OwnLog):
    with transaction.atomic():
        ledger.record(NoteTaken(note="never"), actor=SYSTEM)
        transaction.set_rollback(True)
    assert queries.status().pending == 0
    assert not queries.entries().exists()


def test_many_are_recorded_at_once_in_their_order_and_with_their_bodies(own_log: OwnLog):
    run = uuid4()
    events = [NoteTaken(note="1"), Confided(topic="t", words="2"), NoteTaken(note="3")]
    made = ledger.record_all(events, actor=ROBO, correlation=run)
    publish()
    found = queries.entries(correlation=run).order_by("leaf__sequence")
    assert [(entry.pk, entry.kind) for entry in found] == [
        (id_, event.kind) for id_, event in zip(made, events, strict=True)
    ]
    assert queries.private(found[1])["words"]["value"] == "2"


def test_of_many_all_or_none_are_recorded(own_log: OwnLog):
    too_large = NoteTaken(note="x" * 70_000)
    with pytest.raises(EntryTooLarge):
        ledger.record_all([NoteTaken(note="fits"), too_large], actor=SYSTEM)
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
    publish()
    leaf = queries.access_entry(made).leaf_bytes(own_log.origin)
    assert len(leaf) <= entries.MAX_ENTRY_BYTES


@pytest.mark.parametrize("length", [62_464 - 21, 65_536, 1_000_000])
def test_an_entry_that_is_too_large_is_refused(own_log: OwnLog, length: int):
    with pytest.raises(EntryTooLarge) as refusal:
        ledger.record(NoteTaken(note="x" * length), actor=SYSTEM)
    assert refusal.value.details["limit"] == entries.MAX_DATA_BYTES
    assert not queries.entries().exists()


def test_the_longest_header_fits_beside_the_largest_event():
    name = str(uuid4())
    widest = Actor("client_app", '"' * 255, "\\" * 255, on_behalf_of=name, means="service_key")
    note = NoteTaken(note="x" * (entries.MAX_DATA_BYTES - 22))
    made = entries.draft(note, actor=widest, correlation=uuid4())
    made = msgspec.structs.replace(made, subject=uuid4(), kind="k" * 100)
    stamp = Stamp(datetime.now(UTC), datetime.now(UTC), 2**63 - 1, bytes(32))
    leaf = entries.leaf_bytes(made, stamp, origin="o" * 255)
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
