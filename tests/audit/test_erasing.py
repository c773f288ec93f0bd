"""The only place that tests erasure, legal holds and retention on the ground."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from own_logs import OwnLog, act_as, ask, direct, publish, record_all
from psycopg.errors import InsufficientPrivilege

from audit import bundles, erasing, holds, ledger, queries, retention, roles, subjects
from audit.bodies import Subject
from audit.entries import draft, recording
from audit.events import SYSTEM, Actor, HoldPlaced, RetentionApplied, SubjectErased
from audit.holds import HoldEnded, HoldUnknown, UnderHold
from audit.models import Body, Entry, Hold
from audit.verify.checks import verify
from audit.verify.report import Report
from retrieval.events import CollectionRemoved, DocumentUploaded

ALICE = Actor(kind="member", id=str(uuid4()))
ERIKA, JONAS = "person:Erika", "person:Jonas"
DELETE = "DELETE FROM audit.{}"
BASIS = "GDPR art. 17(1)(a)"


def _upload(person: str) -> UUID:
    event = DocumentUploaded(
        document=str(uuid4()),
        collection="letters",
        filename=f"{person}.pdf",
        media_type="application/pdf",
        sha256="0" * 64,
        size=1,
    )
    return ledger.record(event, actor=SYSTEM, person=person)


def _erase(person: str = ERIKA) -> erasing.Erased:
    return erasing.erase(
        [person], legal_basis=BASIS, approvers=["a", "b"], actor=ALICE, receipts={"runs": 2}
    )


def _verified(folder: Path) -> Report:
    publish()
    bundles.export(folder, now=datetime.now(UTC))
    return verify(folder, now=datetime.now(UTC))


def _filename(entry: UUID) -> Any:
    return queries.private(queries.access_entry(entry)).get("filename", {}).get("value")


def test_who_is_erased_can_be_read_no_more_and_every_proof_stays(own_log: OwnLog, tmp_path: Path):
    theirs, others = _upload(ERIKA), _upload(JONAS)
    publish()
    before = queries.access_entry(theirs).leaf_bytes(own_log.origin)
    erased = _erase()
    assert (_filename(theirs), _filename(others)) == (None, "person:Jonas.pdf")
    assert erased.receipts == {"runs": 2, "ledger_bodies": 1}
    assert queries.access_entry(theirs).leaf_bytes(own_log.origin) == before
    said = queries.access_entry(erased.entry)
    assert said.event == {
        "subjects": [str(erased.subjects[0])],
        "legal_basis": BASIS,
        "approvers": ["a", "b"],
        "receipts": erased.receipts,
    }
    report = _verified(tmp_path / "bundle")
    assert report.verdict == "whole"
    told = [note.sentence for note in report.notes]
    assert "The private parts of 1 entries were erased by entry 2." in told


def test_the_key_goes_with_the_bodies_and_a_later_one_is_another(own_log: OwnLog):
    _upload(ERIKA)
    (before,) = subjects.ids_of([ERIKA])
    _erase()
    assert subjects.ids_of([ERIKA]) == []
    assert subjects.of(ERIKA).id != before


def test_what_comes_under_a_destroyed_key_is_recorded_without_its_body(own_log: OwnLog):
    subject = subjects.of(ERIKA)
    _upload(ERIKA)
    _erase()
    event = DocumentUploaded(
        document="d", collection="c", filename="late.pdf", media_type="m", sha256="s", size=1
    )
    late = draft(event, actor=SYSTEM, subject=subject)
    with connection.cursor() as cursor:
        cursor.execute(*recording([late]))
        assert cursor.rowcount == 1
    assert queries.access_entry(late.id).subject == subject.id
    assert not Body.objects.exists()


def test_another_tenants_body_survives_whatever_is_recorded_here(
    own_log: OwnLog, other_log: OwnLog
):
    mine = _upload(ERIKA)
    (subject,) = subjects.ids_of([ERIKA])
    act_as(other_log.role)
    event = SubjectErased(subjects=[str(subject)], legal_basis=BASIS, approvers=[], receipts={})
    ledger.record(event, actor=SYSTEM)
    act_as(own_log.role)
    assert _filename(mine) == "person:Erika.pdf"


@pytest.mark.parametrize("table", ["body", "subject_key", "hold", "hold_release"])
@pytest.mark.parametrize("who", ["tenant", "sequencer", "owner"])
def test_nobody_deletes_what_is_private_but_the_entry_that_says_so(
    own_log: OwnLog, table: str, who: str
):
    _upload(ERIKA)
    holds.release(
        holds.access(holds.place([ERIKA], reason="r", actor=ALICE)), reason="r", actor=ALICE
    )
    database = connection.settings_dict["NAME"]
    names = {
        "tenant": own_log.role,
        "sequencer": roles.sequencer_of(database),
        "owner": roles.owner_of(database),
    }
    act_as(names[who])
    with (
        pytest.raises(DatabaseError) as refusal,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(DELETE.format(table))
    assert isinstance(refusal.value.__cause__, InsufficientPrivilege)


def test_a_tenant_places_no_hold_beside_its_entry(own_log: OwnLog):
    statement = "INSERT INTO audit.hold (log_id, id) VALUES (%s, %s)"
    denied = pytest.raises(DatabaseError, match="permission denied")
    with denied, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [own_log.id, uuid4()])


@pytest.mark.parametrize("people", [[ERIKA], []])
def test_a_hold_on_a_person_or_on_everything_stops_erasure_until_it_is_released(
    own_log: OwnLog, people: list[str]
):
    kept = _upload(ERIKA)
    hold = holds.access(holds.place(people, reason="the case 7 C 12/26", actor=ALICE))
    with pytest.raises(UnderHold):
        _erase()
    assert _filename(kept) == "person:Erika.pdf"
    holds.release(hold, reason="it is settled", actor=ALICE)
    _erase()
    assert _filename(kept) is None


def test_postgresql_itself_refuses_where_our_code_forgets_the_hold(
    own_log: OwnLog, monkeypatch: pytest.MonkeyPatch
):
    kept = _upload(ERIKA)
    holds.place([ERIKA], reason="the case", actor=ALICE)
    monkeypatch.setattr(holds, "check", lambda ids: None)
    with pytest.raises(DatabaseError, match="A legal hold stands"), transaction.atomic():
        _erase()
    assert _filename(kept) == "person:Erika.pdf"
    assert not queries.entries(kind="subject.erased").exists()


def test_a_hold_on_another_person_stops_nothing(own_log: OwnLog):
    kept = _upload(ERIKA)
    holds.place([JONAS], reason="the case", actor=ALICE)
    _erase()
    assert _filename(kept) is None


def test_another_tenants_hold_holds_nothing_here_and_is_not_seen(
    own_log: OwnLog, other_log: OwnLog
):
    hold = holds.place([], reason="the case", actor=ALICE)
    act_as(other_log.role)
    assert not holds.every().exists()
    with pytest.raises(HoldUnknown):
        holds.access(hold)
    _upload(ERIKA)
    _erase()


def test_a_hold_is_released_once(own_log: OwnLog):
    hold = holds.access(holds.place([], reason="the case", actor=ALICE))
    holds.release(hold, reason="over", actor=ALICE)
    with pytest.raises(HoldEnded):
        holds.release(holds.access(hold.pk), reason="over", actor=ALICE)


def test_why_and_on_whom_a_hold_was_placed_is_private_and_erased_with_them(own_log: OwnLog):
    hold = holds.access(holds.place([ERIKA], reason="Erika sues us", actor=ALICE))
    assert holds.told([hold]) == [(ERIKA, "Erika sues us")]
    holds.release(hold, reason="Erika gave in", actor=ALICE)
    _erase()
    assert holds.told([hold]) == [(None, None)]
    assert not Body.objects.exists()


def _age(days: int) -> None:
    """Make all entries older, as nobody can record one of last year."""
    database = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        before = connection.tenant
        act_as(roles.owner_of(database))
        cursor.execute(
            "SELECT audit.maintain('ALTER TABLE audit.entry DISABLE TRIGGER append_only')"
        )
        cursor.execute(
            "UPDATE audit.entry SET recorded_at = recorded_at - make_interval(days => %s)", [days]
        )
        cursor.execute(
            "SELECT audit.maintain('ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER append_only')"
        )
        connection.set_tenant(before)


def _apply(kinds: list[str], *, days: int = 200) -> int:
    moment = datetime.now(UTC) - timedelta(days=days)
    return retention.apply(kinds, older_than=moment, actor=SYSTEM)


def test_bodies_whose_time_is_over_go_and_the_ledger_says_so(own_log: OwnLog):
    old = _upload(ERIKA)
    ledger.record(CollectionRemoved(collection="c", documents=0, passages=0), actor=SYSTEM)
    publish()
    _age(210)
    young = _upload(ERIKA)
    publish()
    assert _apply(["run."]) == 0
    assert _apply(["document."]) == 1
    assert (_filename(old), _filename(young)) == (None, "person:Erika.pdf")
    (said,) = queries.entries(kind="retention.applied")
    assert said.event == {"kinds": ["document."], "before_index": 2, "count": 1}
    assert _apply(["document."]) == 0
    assert queries.entries(kind="retention.applied").count() == 1


def test_what_is_pruned_verifies(own_log: OwnLog, tmp_path: Path):
    _upload(ERIKA)
    publish()
    # Its time is moved for the pruning alone: it is hashed into the leaf.
    _age(210)
    assert _apply(["document."]) == 1
    _age(-210)
    report = _verified(tmp_path / "bundle")
    told = [note.sentence for note in report.notes]
    assert (
        "The private parts of 1 entries were removed when their time was over, by entry 1." in told
    )


def test_postgresql_prunes_nothing_that_is_not_half_a_year_old(own_log: OwnLog):
    young = _upload(ERIKA)
    publish()
    ledger.record(RetentionApplied(kinds=["document."], before_index=99, count=1), actor=SYSTEM)
    assert _filename(young) == "person:Erika.pdf"


@pytest.mark.parametrize("people", [[ERIKA], []])
def test_what_is_held_is_not_pruned(own_log: OwnLog, people: list[str]):
    held, free = _upload(ERIKA), _upload(JONAS)
    publish()
    _age(210)
    holds.place(people, reason="the case", actor=ALICE)
    assert _apply(["document."]) == len(people)
    assert _filename(held) == "person:Erika.pdf"
    assert (_filename(free) is None) == bool(people)


def test_nothing_of_a_person_is_in_the_entry_that_erases_them(own_log: OwnLog):
    _upload(ERIKA)
    erased = _erase()
    payload = json.dumps(Entry.objects.get(pk=erased.entry).event)
    assert "Erika" not in payload


def test_a_hold_names_its_subjects_by_pseudonym(own_log: OwnLog):
    placed = holds.place([ERIKA], reason="r", actor=ALICE)
    assert Hold.objects.get(pk=placed).subjects == subjects.ids_of([ERIKA])


def test_a_hold_that_is_being_placed_at_that_moment_counts(committed_log: OwnLog, erika: Subject):
    """The erasure waits for the hold's commit, and is refused; nobody slips through between."""
    hold = HoldPlaced(subjects=[str(erika.id)], person=None, reason="the case")
    erased = SubjectErased(subjects=[str(erika.id)], legal_basis=BASIS, approvers=[], receipts={})
    placing = [draft(hold, actor=SYSTEM, subject=erika)]
    refused: list[Exception] = []

    def attempt() -> None:
        with direct() as other:
            try:
                record_all(other, committed_log, [draft(erased, actor=SYSTEM)])
            except InsufficientPrivilege as refusal:
                refused.append(refusal)

    thread = threading.Thread(target=attempt)
    with direct() as raw, raw.transaction():
        record_all(raw, committed_log, placing)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it did not wait"
    thread.join(10)
    assert [str(each).splitlines()[0] for each in refused] == [
        "A legal hold stands: nothing is erased."
    ]
    with direct() as raw:
        keys = ask(raw, committed_log, "SELECT id FROM audit.subject_key")
    assert keys == [(erika.id,)]
