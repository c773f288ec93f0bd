"""The only place that tests the keys of data subjects."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from django.db import connection, transaction
from hypothesis import assume, given
from hypothesis import strategies as st
from own_logs import ROBO, NoteTaken, OwnLog, act_as

from audit import ledger, queries, subjects
from audit.bodies import Subject
from audit.events import SYSTEM, Actor
from audit.roles import NoLedger
from audit.subjects import PersonMalformed, SubjectKeyUnreadable

ERIKA = "person:Erika"
ALICE = str(UUID(int=0xA11CE))
KEY_ID = "0123456789abcdef"


def test_a_person_has_one_key_in_a_ledger(own_log: OwnLog):
    assert subjects.find(ERIKA) is None
    made = subjects.of(ERIKA)
    assert len(made.key) == 32
    assert subjects.of(ERIKA) == subjects.find(ERIKA) == made
    other = subjects.of("person:erika")
    assert other.id != made.id
    assert other.key != made.key


def test_a_person_has_another_key_in_each_ledger(own_log: OwnLog, other_log: OwnLog):
    made = subjects.of(ERIKA)
    act_as(other_log.role)
    there = subjects.of(ERIKA)
    assert {there.id, there.key}.isdisjoint({made.id, made.key})


def test_outside_a_ledger_nobody_has_a_key(own_log: OwnLog):
    act_as("none")
    with pytest.raises(Exception, match="permission denied"), transaction.atomic():
        subjects.of(ERIKA)


def test_a_role_without_a_ledger_is_told_so(own_log: OwnLog):
    act_as("none")
    with connection.cursor() as cursor:
        group = f"{connection.settings_dict['NAME']}_tenants"
        cursor.execute(f"CREATE ROLE {own_log.role}_2 NOLOGIN IN ROLE {group}")
        cursor.execute(f"GRANT {own_log.role}_2 TO CURRENT_USER WITH SET TRUE")
    act_as(f"{own_log.role}_2")
    with pytest.raises(NoLedger, match=own_log.role):
        subjects.of(ERIKA)


def test_many_are_found_or_made_at_once(own_log: OwnLog, django_assert_max_num_queries):
    known = {person: subjects.of(person) for person in ("person:b", "person:d")}
    wanted = ["person:d", "person:c", "person:b", "person:a"]
    found = subjects.of_all(wanted)
    assert found.keys() == set(wanted)
    assert {person: found[person] for person in known} == known
    # In one order, whatever the caller's: so that two who make the same never wait in a circle.
    assert found["person:a"].id < found["person:c"].id
    with django_assert_max_num_queries(1):
        assert subjects.of_all(wanted) == found
    assert subjects.of_all([]) == {}


def test_under_another_secret_key_nothing_opens(own_log: OwnLog, settings):
    with connection.cursor() as cursor:
        made = subjects.of(ERIKA)
        cursor.execute(subjects.FIND, subjects.lookup(ERIKA))
        row = cursor.fetchone()
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another " * 8
    assert subjects.find(ERIKA) is None
    with pytest.raises(SubjectKeyUnreadable, match=str(made.id)):
        subjects.unwrapped(row)
    settings.SECRET_KEY_FALLBACKS = ["a third " * 8, old]
    assert subjects.unwrapped(row) == subjects.of(ERIKA) == made
    assert subjects.of_all([ERIKA]) == {ERIKA: made}


def test_a_wrapped_key_opens_for_its_own_subject_alone(own_log: OwnLog):
    subjects.of(ERIKA)
    with connection.cursor() as cursor:
        cursor.execute(subjects.FIND, subjects.lookup(ERIKA))
        (id_, wrapped) = cursor.fetchone()
    wrapped = bytes(wrapped)
    for row in (
        (UUID(int=1), wrapped),
        (id_, wrapped[:-1] + bytes([wrapped[-1] ^ 1])),
        (id_, wrapped[:13]),
    ):
        with pytest.raises(SubjectKeyUnreadable):
            subjects.unwrapped(row)


@given(st.text(max_size=300))
def test_only_an_id_is_shown_as_it_is(name: str):
    assume(not re.fullmatch("[0-9a-f]{16}", name))  # the form of a key's id
    robo = Actor(kind="client_app", id=KEY_ID, on_behalf_of=name)
    assert robo.is_for_a_name
    assert robo.person == f"person:{name}"


def test_who_is_known_by_an_id_is_no_name():
    for id_, person in ((ALICE, f"member:{ALICE}"), (KEY_ID, f"client_app:{KEY_ID}")):
        robo = Actor(kind="agent", id="desk", on_behalf_of=id_)
        assert (robo.is_for_a_name, robo.person) == (False, person)
    assert (SYSTEM.is_for_a_name, SYSTEM.person) == (False, "system:countersign")
    for lookalike in (f"{ALICE}\n", f" {ALICE}", ALICE.upper(), KEY_ID.upper(), "٣" * 16):
        assert Actor(kind="agent", id="desk", on_behalf_of=lookalike).is_for_a_name


def test_a_name_becomes_the_same_pseudonym_each_time(own_log: OwnLog):
    made = [ledger.record(NoteTaken(note="n"), actor=ROBO) for _ in range(2)]
    of = {queries.access_entry(id_).on_behalf_of for id_ in made}
    assert of == {str(subjects.of("person:customer 7").id)}


@pytest.fixture
def writers(committed_log: OwnLog) -> Iterator[Callable[[Callable[[int], None]], None]]:
    """Does something at once, each on a connection and in a transaction of its own."""

    def at_once(act: Callable[[int], None]) -> None:
        begin = threading.Barrier(6)

        def work(number: int) -> None:
            try:
                act_as(committed_log.role)
                with transaction.atomic():
                    begin.wait()
                    act(number)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    yield at_once
    act_as("none")


def test_entries_at_once_of_somebody_new_make_one_key(committed_log: OwnLog, writers):
    found: list[Subject] = []

    def record(_number: int) -> None:
        found.append(subjects.of(ERIKA))
        ledger.record(NoteTaken(note="n"), actor=ROBO)
        time.sleep(0.02)

    writers(record)
    assert len(set(found)) == 1
    act_as(committed_log.role)
    with transaction.atomic():
        assert len({entry.on_behalf_of for entry in queries.entries()}) == 1
        assert subjects.of(ERIKA) == found[0]


def test_a_key_that_is_rolled_back_is_made_by_who_waited(committed_log: OwnLog, writers):
    kept: list[Subject] = []

    def record(number: int) -> None:
        made = subjects.of(ERIKA)
        time.sleep(0.02)
        if number < 4:
            transaction.set_rollback(True)
        else:
            kept.append(made)

    writers(record)
    act_as(committed_log.role)
    with transaction.atomic():
        assert set(kept) == {subjects.find(ERIKA)}


def test_many_new_people_at_once_wait_in_no_circle(committed_log: OwnLog, writers):
    people = [f"person:{number}" for number in range(40)]
    found: list[dict[str, Subject]] = []
    writers(lambda number: found.append(subjects.of_all(people[number:] + people[:number])))
    assert all(each == found[0] for each in found)


def test_half_a_surrogate_pair_is_nobodys_name(own_log: OwnLog):
    for look in (subjects.of, subjects.find, lambda name: subjects.ids_of([name])):
        with pytest.raises(PersonMalformed):
            look("person:\ud800")
