"""The only place that tests that a person is erased from every store, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from builders import Desk, after, stock_up
from cast import PASSWORD, Cast
from django.db import connection
from own_logs import publish
from stage import SETS
from workbench import LARGE, LOOKING, allow_small_refunds, approval_of, refund
from world import calls, says

from api.models import KeptAnswer
from audit import bundles, subjects
from audit.events import SYSTEM
from audit.holds import UnderHold
from audit.ids import new_id
from audit.queries import entries, private
from audit.verify.checks import verify
from governance.models import Approval
from retrieval.models import Document, Passage
from runtime import erasing, holding, ingesting, retaining, runs
from runtime.erasing import (
    ErasureSettled,
    LegalBasisInvalid,
    OwnErasure,
    SecondPersonNeeded,
    SubjectActive,
)
from runtime.models import ErasureRequest, ErasureState, RetentionRule, Run, RunState
from runtime.persons import PersonInvalid
from runtime.retaining import RetentionInvalid
from tenants import encryption, isolation, members
from tenants.models import Tenant, User
from tenants.principals import NotPermitted, Principal

ERIKA = "Erika Mustermann"
BASIS = "GDPR art. 17(1)(a)"
# What stands nowhere but in Erika's run, and in the world's answers to it.
WORDS = ("Erika", "Mustermann", "chilblains", "ailing mother", "kept warm")
LETTER = b"# A letter\n\nErika Mustermann has chilblains, and wants to be kept warm.\n"


def _ask(desk: Desk, task: str, *script: Any, name: str | None = ERIKA) -> Run:
    desk.world.script[:] = script
    run = runs.start(
        task, agent=desk.agent, principal=desk.cast.robo, now=desk.now, on_behalf_of=name
    )
    return desk.work(run)


def _story(desk: Desk) -> Run:
    """A run for Erika that was held, rejected with a reason, and answered."""
    allow_small_refunds(desk)
    run = _ask(
        desk,
        "Erika Mustermann has chilblains. Refund order 1042.",
        calls(LOOKING),
        calls(("search_handbook", {"query": "chilblains of Erika"}), first_id="call_2"),
        calls(refund(LARGE), first_id="call_3"),
        says("Sorry, Erika: no refund for chilblains."),
    )
    assert run.state == RunState.HELD
    _reject(desk, run, "Her ailing mother has it.")
    return desk.work(run)


SETS["erikas_story"] = lambda request: after(request, stock_up, _story)


@pytest.fixture
def erikas_story(desk: Desk) -> Run:
    """What `_story` tells."""
    return Run.objects.get(state=RunState.COMPLETED)


def _reject(desk: Desk, run: Run, reason: str) -> None:
    approval = approval_of(run)
    runs.settle_approval(approval, verdict="reject", by=desk.cast.bob, now=desk.now, reason=reason)


def _upload(desk: Desk, person: str = ERIKA) -> Document:
    document = ingesting.upload(
        desk.collection,
        "letter of Erika.md",
        LETTER,
        by=desk.cast.alice,
        now=desk.now,
        metadata={"person": person},
    )
    return ingesting.ingest(document.pk, now=desk.now)


def _keep_answer(desk: Desk, text: str) -> KeptAnswer:
    return KeptAnswer.objects.create(
        scope="client_app:robo",
        key=new_id().hex,
        fingerprint="f",
        status=201,
        body=encryption.seal(text),
        created_at=desk.now,
    )


def _erase(desk: Desk, person: str = ERIKA) -> ErasureRequest:
    asked = erasing.request(person, legal_basis=BASIS, by=desk.cast.alice, now=desk.now)
    return erasing.approve(asked, by=desk.cast.carol, now=desk.now)


def _cells(schema: str) -> Iterator[tuple[str, str]]:
    """Every text, JSON, bytes and array of the schema's tables: where it is, and as text."""
    kinds = ("text", "character varying", "json", "jsonb", "bytea", "ARRAY", "tsvector")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = %s AND data_type = ANY(%s)",
            [schema, list(kinds)],
        )
        for table, column, kind in cursor.fetchall():
            shown = f"encode({column}, 'escape')" if kind == "bytea" else f"{column}::text"
            where = f'"{schema}"."{table}" WHERE {column} IS NOT NULL'
            cursor.execute(f"SELECT {shown} FROM {where}")  # noqa: S608 (names of our own)
            for (text,) in cursor.fetchall():
                yield f"{schema}.{table}.{column}", text


def _found(desk: Desk, words: tuple[str, ...] = WORDS) -> set[str]:
    """Where one of the words stands, in any case, also in what the tenant's keys open."""
    schema = desk.cast.tenant.schema_name
    cells = [*_cells(schema), *_cells("audit")]
    cells += [("answers", encryption.open(bytes(a.body))) for a in KeptAnswer.objects.all()]
    cells += [("bodies", str(each)) for each in _opened()]
    low = [word.lower() for word in words]
    return {place for place, text in cells if any(word in text.lower() for word in low)}


def _opened() -> Iterator[Any]:
    for entry in entries():
        yield private(entry)


def test_nothing_of_a_person_is_left_anywhere(desk: Desk, erikas_story: Run) -> None:
    run = erikas_story
    _upload(desk)
    _keep_answer(desk, f'{{"run": "{run.pk}"}}')
    _keep_answer(desk, '{"for": "Erika Mustermann"}')
    schema = desk.cast.tenant.schema_name
    before = _found(desk)
    for place in ("runtime_run.task", "runtime_step.turn", "governance_vote.reason"):
        assert f"{schema}.{place}" in before
    assert {"bodies", "answers"} <= before
    done = _erase(desk)
    assert _found(desk) == set()
    assert done.state == ErasureState.DONE
    expected = {"runs": 1, "approvals": 1, "documents": 1, "kept_answers": 2, "members": 0}
    assert expected.items() <= done.receipts.items()
    assert min(done.receipts["steps"], done.receipts["ledger_bodies"]) > 5


def test_others_keep_what_is_theirs(stocked_desk: Desk) -> None:
    desk = stocked_desk
    others = _ask(desk, "Where is order 7?", says("With Jonas."), name="Jonas")
    mine = _ask(desk, "Where is order 8?", says("With Erika."))
    kept = _keep_answer(desk, '{"for": "Jonas"}')
    documents = Document.objects.count()
    _erase(desk)
    others.refresh_from_db()
    mine.refresh_from_db()
    assert (others.task, others.on_behalf_of) == ("Where is order 7?", "Jonas")
    assert others.answer == {"text": "With Jonas.", **(others.answer or {})}
    assert mine.task == "[erased]"
    assert Document.objects.count() == documents
    assert Passage.objects.exists()
    assert encryption.open(bytes(KeptAnswer.objects.get(pk=kept.pk).body)) == '{"for": "Jonas"}'


def test_every_proof_still_verifies_and_the_verifier_says_which_entry_erased(
    desk: Desk, erikas_story: Run, tmp_path: Path
) -> None:
    done = _erase(desk)
    with isolation.outside_tenants():
        publish()
    bundles.export(tmp_path / "bundle", now=datetime.now(UTC))
    report = verify(tmp_path / "bundle", now=datetime.now(UTC))
    assert report.verdict == "whole", report.findings
    (said,) = entries(kind="subject.erased")
    assert said.pk == done.entry
    notes = [note.sentence for note in report.notes]
    assert any(f"erased by entry {said.index}" in note for note in notes), notes


def test_an_erased_run_can_still_be_listed_with_its_figures(desk: Desk, erikas_story: Run) -> None:
    run = erikas_story
    tokens = run.tokens
    _erase(desk)
    run.refresh_from_db()
    (subject,) = {UUID(text) for text in entries(kind="subject.erased")[0].event["subjects"]}
    assert (run.state, run.tokens, run.on_behalf_of) == ("completed", tokens, str(subject))
    assert {step.intent["arguments"] == {} for step in run.steps.all()} == {True}
    assert Approval.objects.get(run=run.pk).digest == ""


def test_whoever_has_an_unfinished_run_is_not_erased(stocked_desk: Desk) -> None:
    desk = stocked_desk
    run = _ask(desk, "Refund Erika", calls(refund(LARGE)), says("Done."))
    assert run.state == RunState.HELD
    asked = erasing.request(ERIKA, legal_basis=BASIS, by=desk.cast.alice, now=desk.now)
    with pytest.raises(SubjectActive):
        erasing.approve(asked, by=desk.cast.carol, now=desk.now)
    runs.cancel(run, by=desk.cast.alice, now=desk.now)
    erasing.approve(asked, by=desk.cast.carol, now=desk.now)
    assert _found(desk) == set()


def test_one_person_alone_erases_nobody(desk: Desk) -> None:
    alice, carol = desk.cast.alice, desk.cast.carol
    asked = erasing.request(ERIKA, legal_basis=BASIS, by=alice, now=desk.now)
    with pytest.raises(SecondPersonNeeded):
        erasing.approve(asked, by=alice, now=desk.now)
    erasing.approve(asked, by=carol, now=desk.now)
    with pytest.raises(ErasureSettled):
        erasing.approve(asked, by=carol, now=desk.now)
    (said,) = entries(kind="subject.erased")
    assert said.event["approvers"] == [alice.id, carol.id]
    assert said.actor.id == carol.id


@pytest.mark.parametrize("who", ["bob", "dave", "robo"])
def test_only_admins_and_auditors_ask_approve_and_look(desk: Desk, who: str) -> None:
    by: Principal = getattr(desk.cast, who)
    asked = erasing.request(ERIKA, legal_basis=BASIS, by=desk.cast.alice, now=desk.now)
    for act in (
        lambda: erasing.request(ERIKA, legal_basis=BASIS, by=by, now=desk.now),
        lambda: erasing.approve(asked, by=by, now=desk.now),
        lambda: erasing.reject(asked, by=by, now=desk.now),
        lambda: erasing.requests(principal=by),
        lambda: holding.place(None, reason="r", by=by),
        lambda: holding.every(principal=by),
        lambda: retaining.set_rules({}, by=by),
        lambda: retaining.rules(principal=by),
    ):
        with pytest.raises(NotPermitted):
            act()


def test_nobody_takes_part_in_erasing_themself(desk: Desk) -> None:
    alice, carol = desk.cast.alice, desk.cast.carol
    with pytest.raises(OwnErasure):
        erasing.request("alice@acme.test", legal_basis=BASIS, by=alice, now=desk.now)
    asked = erasing.request(carol.id, legal_basis=BASIS, by=alice, now=desk.now)
    with pytest.raises(OwnErasure):
        erasing.approve(asked, by=carol, now=desk.now)


def test_a_rejected_request_names_nobody_and_erases_nothing(desk: Desk, erikas_story: Run) -> None:
    run = erikas_story
    by, now = desk.cast.alice, desk.now
    asked = erasing.request(ERIKA, legal_basis=BASIS, by=by, now=now)
    done = erasing.reject(asked, by=by, now=now)
    assert (done.state, done.person) == (ErasureState.REJECTED, "")
    run.refresh_from_db()
    assert "Erika" in run.task
    assert entries(kind="erasure.rejected").count() == 1


def test_a_hold_stops_a_request_and_an_approval(desk: Desk) -> None:
    asked = erasing.request(ERIKA, legal_basis=BASIS, by=desk.cast.alice, now=desk.now)
    hold = holding.place(ERIKA, reason="Erika sues", by=desk.cast.carol)
    (told,) = holding.told([hold])
    assert (told.person, told.reason) == (f"person:{ERIKA}", "Erika sues")
    with pytest.raises(UnderHold):
        erasing.request(ERIKA, legal_basis=BASIS, by=desk.cast.alice, now=desk.now)
    with pytest.raises(UnderHold):
        erasing.approve(asked, by=desk.cast.carol, now=desk.now)
    holding.release(hold, reason="settled with Erika", by=desk.cast.carol)
    erasing.approve(asked, by=desk.cast.carol, now=desk.now)
    assert _found(desk) == set()


@pytest.mark.parametrize("basis", ["", " ", "x" * 201, "as ERIKA Mustermann wishes", "a\nb"])
def test_a_legal_basis_is_a_line_that_names_nobody(desk: Desk, basis: str) -> None:
    with pytest.raises(LegalBasisInvalid):
        erasing.request(ERIKA, legal_basis=basis, by=desk.cast.alice, now=desk.now)


@pytest.mark.parametrize("person", ["", " ", "ä" * 101, "a\0b"])
def test_a_person_is_a_name(desk: Desk, person: str) -> None:
    with pytest.raises(PersonInvalid):
        erasing.request(person, legal_basis=BASIS, by=desk.cast.alice, now=desk.now)


def _removed_member(cast: Cast, now: datetime) -> str:
    made = members.add(
        "erika@acme.test",
        name=ERIKA,
        password=PASSWORD,
        roles=["reviewer", "builder"],
        actor=SYSTEM,
        now=now,
    )
    return str(made.user_id)


def test_of_a_removed_member_the_name_and_the_address_go_too(stocked_desk: Desk) -> None:
    desk = stocked_desk
    member = _removed_member(desk.cast, desk.now)
    erika = members.principal_of(member)
    assert erika is not None
    held = _ask(desk, "Refund Jonas", calls(refund(LARGE)), says("No."), name="Jonas")
    runs.settle_approval(
        approval_of(held), verdict="reject", by=erika, now=desk.now, reason="Too much."
    )
    desk.work(held)
    desk.world.script[:] = [says("Hello, Erika.")]
    mine = runs.start("I am Erika.", agent=desk.agent, principal=erika, now=desk.now)
    desk.work(mine)
    _upload(desk, "erika@acme.test")
    members.remove(UUID(member), by=desk.cast.alice)
    done = _erase(desk, member)
    assert done.receipts["members"] == 1
    assert done.receipts["documents"] == 1
    assert _found(desk) == set()
    with isolation.outside_tenants():
        user = User.objects.get(pk=member)
    assert (user.name, user.email) == ("[erased]", f"{member}@erased.invalid")
    vote = Approval.objects.get(run=held.pk).votes.get()
    assert (vote.member_name, vote.reason) == ("[erased]", "Too much.")


def test_a_present_member_keeps_their_name(desk: Desk) -> None:
    done = _erase(desk, "bob@acme.test")
    assert done.receipts["members"] == 0
    with isolation.outside_tenants():
        assert User.objects.get(pk=desk.cast.bob.id).name == "Bob"


def test_erasing_makes_the_data_plane_read_its_snapshot_anew(desk: Desk) -> None:
    tenants = Tenant.objects.filter(pk=desk.cast.tenant.pk)
    before = tenants.values_list("configuration_version", flat=True).get()
    _erase(desk)
    assert tenants.values_list("configuration_version", flat=True).get() > before


def test_two_requests_for_one_person_are_settled_together(desk: Desk) -> None:
    alice = desk.cast.alice
    twice = [erasing.request(ERIKA, legal_basis=BASIS, by=alice, now=desk.now) for _ in range(2)]
    done = erasing.approve(twice[0], by=desk.cast.carol, now=desk.now)
    twice[1].refresh_from_db()
    assert (twice[1].state, twice[1].person, twice[1].entry) == ("done", "", done.entry)


def test_globex_erases_nobody_of_acme(desk: Desk, erikas_story: Run, globex: Cast) -> None:
    run = erikas_story
    with isolation.acting_for(globex.tenant):
        asked = erasing.request(ERIKA, legal_basis=BASIS, by=globex.mallory, now=desk.now)
        done = erasing.approve(asked, by=globex.heidi, now=desk.now)
        assert done.receipts["runs"] == 0
    run.refresh_from_db()
    assert "Erika" in run.task
    assert subjects.ids_of([f"person:{ERIKA}"])


def test_a_tenant_keeps_everything_unless_it_says_otherwise(desk: Desk) -> None:
    assert retaining.rules(principal=desk.cast.carol) == {}
    assert retaining.apply(desk.now + timedelta(days=9_000)) == 0


def test_retention_is_what_an_admin_says_it_is(desk: Desk) -> None:
    retaining.set_rules({"run.": 12, "approval.opened": 6}, by=desk.cast.alice)
    assert retaining.rules(principal=desk.cast.alice) == {"approval.opened": 6, "run.": 12}
    (said,) = entries(kind="retention.changed")
    assert said.event == {"months": {"approval.opened": 6, "run.": 12}}
    retaining.set_rules({}, by=desk.cast.alice)
    assert not RetentionRule.objects.exists()


@pytest.mark.parametrize(
    "months", [{"run.": 5}, {"run": 12}, {"": 12}, {"run.": 12, "run.started": 24}, {"run.": 9_999}]
)
def test_retention_has_a_floor_and_one_rule_a_kind(desk: Desk, months: dict[str, int]) -> None:
    with pytest.raises(RetentionInvalid):
        retaining.set_rules(months, by=desk.cast.alice)


@pytest.mark.parametrize(
    ("now", "months", "before"),
    [
        ("2026-08-31", 6, "2026-02-28"),
        ("2026-01-15", 12, "2025-01-15"),
        ("2026-12-31", 1, "2026-11-30"),
    ],
)
def test_months_are_those_of_the_calendar(now: str, months: int, before: str) -> None:
    moment = datetime.fromisoformat(f"{now}T03:00:00+00:00")
    assert retaining.months_before(moment, months).date().isoformat() == before
