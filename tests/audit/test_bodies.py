"""The only place that tests what is private of an entry: its commitments and its body."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st
from own_logs import ROBO, Confided, NoteTaken, OwnLog, act_as, ask, direct, record_all
from psycopg import sql
from psycopg.errors import UniqueViolation

from audit import bodies, canonical, entries, ledger, queries, roles, schema, subjects
from audit.bodies import BodyUnreadable, Part, Subject
from audit.commitments import commit
from audit.entries import SubjectNeeded
from audit.events import SYSTEM, Actor, Bound, Event, Private, private_fields
from audit.models import Body, Entry

ALICE = Actor(kind="member", id=str(UUID(int=0xA11CE)))
SECRET = "Erika Mustermann, +49 170 5550100"
TERMS = {"amount": 1200, "iban": "DE02 1203 0000 0000 2020 51"}


def _confide(actor: Actor = ALICE, **private: Any) -> Entry:
    made = ledger.record(Confided(topic="returns", **private), actor=actor)
    return queries.access_entry(made)


def _opened(entry: Entry, person: str = ALICE.person) -> dict[str, Any]:
    sealed = bytes(Body.objects.get(entry_id=entry.id).sealed)
    return bodies.open_(sealed, subjects.of(person), entry.id)["parts"]


def test_an_entry_commits_to_what_is_private_and_its_body_opens_to_it(own_log: OwnLog):
    entry = _confide(words=SECRET, terms=TERMS)
    assert entry.event.keys() == {"topic", "words", "terms"}
    assert entry.event["topic"] == "returns"
    assert entry.subject == subjects.of(ALICE.person).id
    parts = _opened(entry)
    assert {name: part["value"] for name, part in parts.items()} == {
        "words": SECRET,
        "terms": TERMS,
    }
    for name, part in parts.items():
        salt = bytes.fromhex(part["salt"])
        assert len(salt) == 32
        hashed = hashlib.sha256(salt + canonical.encode(part["value"])).hexdigest()
        assert entry.event[name] == hashed


class Nested(Event, kind="test.nested"):
    """Marks in places where they are easily overlooked. Only the tests record it."""

    maybe: Private[str] | None = None
    each: list[Private[str]]
    of: dict[str, Bound[int] | None]
    visibility: Literal["public", "private", "bound"] = "private"


def test_a_field_is_private_wherever_it_is_marked():
    assert private_fields(Nested) == {"maybe": False, "each": False, "of": True}
    assert private_fields(Confided) == {"words": False, "terms": True}
    assert private_fields(NoteTaken) == {}


def test_what_is_null_stays_null_and_needs_no_body(own_log: OwnLog):
    entry = _confide()
    assert entry.event == {"topic": "returns", "words": None, "terms": None}
    assert entry.subject is None
    assert not Body.objects.exists()
    some = _confide(words="")
    assert (some.event["terms"], len(some.event["words"])) == (None, 64)
    assert _opened(some).keys() == {"words"}


def test_an_event_without_private_fields_has_no_body(own_log: OwnLog):
    entry = queries.access_entry(ledger.record(NoteTaken(note="n"), actor=ALICE))
    assert entry.subject is None
    assert not Body.objects.exists()


def test_the_same_words_have_another_commitment_each_time(own_log: OwnLog):
    assert len({_confide(words=SECRET).event["words"] for _ in range(3)}) == 3


def test_a_bound_field_has_one_commitment_a_subject(own_log: OwnLog):
    bob = Actor(kind="member", id=str(UUID(int=0xB0B)))
    of_alice = {_confide(terms=TERMS).event["terms"] for _ in range(3)}
    of_bob = {_confide(bob, terms=TERMS).event["terms"] for _ in range(3)}
    others = {_confide(terms={**TERMS, "amount": 1201}).event["terms"]}
    assert [len(each) for each in (of_alice, of_bob, of_alice | of_bob | others)] == [1, 1, 3]
    assert of_alice == {subjects.of(ALICE.person).commitment(TERMS)}


def test_the_subject_is_whom_the_actor_acts_for(own_log: OwnLog):
    robo = Actor(kind="client_app", id="0" * 16, on_behalf_of=ALICE.id)
    entry = _confide(robo, words=SECRET)
    assert entry.subject == subjects.of(ALICE.person).id
    assert entry.on_behalf_of == ALICE.id
    made = ledger.record(Confided(topic="t", words="x"), actor=SYSTEM, person="person:Erika")
    assert queries.access_entry(made).subject == subjects.of("person:Erika").id


def test_the_body_of_one_entry_does_not_open_as_anothers(own_log: OwnLog):
    one, other = _confide(words="one"), _confide(words="other")
    sealed = bytes(Body.objects.get(entry_id=one.id).sealed)
    subject = subjects.of(ALICE.person)
    for key, entry in ((subject, other.id), (Subject(subject.id, bytes(32)), one.id)):
        with pytest.raises(BodyUnreadable, match=str(entry)):
            bodies.open_(sealed, key, entry)
    for changed in (b"", sealed[:-1], sealed[:12], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(BodyUnreadable):
            bodies.open_(changed, subject, one.id)


@pytest.mark.parametrize("length", [bodies.MAX_VALUE_BYTES - 2, bodies.MAX_VALUE_BYTES - 1])
def test_of_a_large_value_the_salt_alone_is_kept(own_log: OwnLog, length: int):
    words = "x" * length
    entry = _confide(words=words)
    part = _opened(entry)["words"]
    assert ("value" in part) == (length + 2 <= bodies.MAX_VALUE_BYTES)
    assert commit(words, bytes.fromhex(part["salt"])) == entry.event["words"]


def test_private_words_do_not_make_an_entry_too_large(own_log: OwnLog):
    entry = _confide(words="x" * 1_000_000)
    assert len(entry.payload) < 250


def test_what_is_private_is_not_recorded_without_a_subject():
    with pytest.raises(SubjectNeeded, match=r"test\.confided"):
        entries.draft(Confided(topic="t", words="x"), actor=ALICE)
    with pytest.raises(SubjectNeeded):
        entries.draft(NoteTaken(note="n"), actor=ROBO)
    assert entries.draft(Confided(topic="t"), actor=ALICE).subject is None


def _everything(as_role: str) -> str:
    """All that the tables of the ledger hold, bytes as hexadecimal digits."""
    act_as("none")
    texts = []
    with transaction.atomic(), connection.cursor() as cursor, roles.acting_as(cursor, as_role):
        for table in schema.REFUSED:
            cursor.execute(
                sql.SQL("SELECT held::text FROM {} AS held").format(sql.Identifier("audit", table))
            )
            texts += [text for (text,) in cursor.fetchall()]
    return "\n".join(texts)


def test_nothing_private_stands_in_any_column_in_the_clear(own_log: OwnLog):
    robo = Actor(kind="client_app", id="0" * 16, on_behalf_of="Zacharias Zwölf")
    entry = _confide(robo, words=SECRET, terms=TERMS)
    assert entry.on_behalf_of == str(entry.subject)
    person = robo.person
    key = subjects.of(person).key
    everything = _everything(roles.owner_of(connection.settings_dict["NAME"]))
    assert str(entry.id) in everything
    assert str(entry.subject) in everything
    words = [SECRET, TERMS["iban"], "Zacharias", "Zwölf", json.dumps("Zwölf"), person]
    hashes = [hashlib.sha256(word.encode()).digest() for word in words]
    for secret in (*(word.encode() for word in words), *hashes, key):
        assert secret.hex() not in everything
    for word in words:
        assert str(word) not in everything


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_a_body_opens_to_what_was_sealed(value: Any):
    subject, entry = Subject(uuid4(), bytes(range(32))), uuid4()
    sealed = bodies.seal({"it": Part(bytes(32), value)}, subject, entry)
    assert bodies.open_(sealed, subject, entry) == {
        "parts": {"it": {"salt": "00" * 32, "value": value}}
    }


def test_a_subject_does_not_show_its_key():
    assert "00" not in repr(Subject(UUID(int=2**128 - 1), bytes(32)))


def test_a_body_is_recorded_with_its_entry_or_not_at_all(committed_log: OwnLog, erika: Subject):
    made = entries.draft(Confided(topic="t", words="x"), actor=ALICE, subject=erika)
    with direct() as raw:
        with raw.transaction(force_rollback=True):
            record_all(raw, committed_log, [made])
        assert ask(raw, committed_log, "SELECT FROM audit.body") == []
        record_all(raw, committed_log, [made])
        with pytest.raises(UniqueViolation):
            record_all(raw, committed_log, [made])
        held = ask(raw, committed_log, "SELECT entry_id, subject FROM audit.body")
    assert held == [(made.id, erika.id)]


def test_a_body_that_nobody_could_open_is_not_kept(committed_log: OwnLog):
    gone = Subject(uuid4(), bytes(32))
    made = entries.draft(Confided(topic="t", words="x"), actor=ALICE, subject=gone)
    with direct() as raw:
        record_all(raw, committed_log, [made])
        assert ask(raw, committed_log, "SELECT id FROM audit.entry") == [(made.id,)]
        assert ask(raw, committed_log, "SELECT FROM audit.body") == []
