"""One page explains one decision: what was asked, decided, shown, voted, done, and proven."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from acme_house import House
from visiting import seal
from world import calls, says

from audit import proofs, queries, tlog_proof
from audit.checkpoints import parse_keys
from console import findings, stories
from console.findings import Finding
from governance import grants
from runtime import erasing, ledgers, runs
from runtime.models import Run, Tool

pytestmark = pytest.mark.usefixtures("three_runs")


def _decisions(run: Run, resource: str) -> list[Any]:
    """The decisions about the resource in the run, oldest first."""
    found = queries.entries(correlation=run.pk, kind="intent.decided").reverse()
    return [each for each in found if each.event["resource"] == resource]


def _words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))


def test_an_approved_refund_is_explained_from_the_task_to_the_proof(house: House) -> None:
    run = house.approved
    seal()
    held, allowed = _decisions(run, "refund_order")
    page = house.carol.words(f"/ledger/{allowed.pk}/decision")
    words = _words(page)
    assert "The agent refund-desk (version 1) wanted to use the tool refund_order" in words
    assert "Refund 129.00 of order 1042" in words
    assert "12900 = 129.00" in words
    assert "No policy permits it without a reviewer. unattended_not_permitted" in words
    assert "A reviewer approved it." in words
    assert "is the one whose SHA-256 the decision names" in words
    assert "@id(&quot;granted-tools&quot;)" in page
    assert "The agent had its grant since" in words
    assert re.search(r"Approved by Bob, .*“Within the limits.”", words)
    assert "Refunds of more than 50.00 need the approval of a supervisor." in words
    assert "Try 1 began" in words
    for entry in (held, allowed):
        assert f'href="/ledger/{entry.pk}"' in page
    leaf = queries.inclusion(allowed).leaf
    assert proofs.leaf_hash(leaf).hex() in page
    assert page.count(">holds</span> <a") == page.count("does not hold") + 9
    assert "does not hold" not in page
    assert "No checkpoint is outside" in words
    assert f'href="/ledger/exports?correlation={run.pk}"' in page
    assert 'action="/ledger/verify"' in page


def test_every_decision_about_one_intent_tells_the_same_story(house: House) -> None:
    run = house.approved
    held, allowed = _decisions(run, "refund_order")
    carol = house.desk.cast.carol
    told = [stories.tell(each, principal=carol).entries for each in (held, allowed)]
    assert [each.pk for each in told[0]] == [each.pk for each in told[1]]
    assert [each.kind for each in told[0]] == [
        "approval.opened",
        "intent.decided",
        "run.held",
        "approval.approved",
        "run.resumed",
        "approval.spent",
        "intent.decided",
        "effect.begun",
        "effect.ended",
    ]


def test_a_model_call_has_its_model_and_its_cost(house: House) -> None:
    first = _decisions(house.completed, "answers")[0]
    page = house.carol.words(f"/ledger/{first.pk}/decision")
    words = _words(page)
    assert "Nobody had to be asked." in words
    (called,) = stories.tell(first, principal=house.desk.cast.carol).of("model.called")
    event = called.event
    assert f"{event['model']} at scripted-chat" in words
    tokens = event["input_tokens"] + event["output_tokens"]
    assert f'<dt>Tokens</dt><dd class="cs-number">{tokens}</dd>' in page
    assert "How long may I return electronics?" in words


def test_what_is_not_sealed_yet_is_explained_too(house: House) -> None:
    words = _words(house.carol.words(f"/ledger/{house.decision}/decision"))
    assert "Held for a reviewer" in words
    assert "Nobody has voted. It waits until" in words
    assert "Nothing began yet." in words
    assert "3 of 3 entries are not under a checkpoint yet." in words


def test_a_denial_is_explained_with_its_reason(house: House) -> None:
    tool = Tool.objects.get(slug="refund_order")
    grants.revoke("refund-desk", tool, by=house.desk.cast.alice)
    asked = house.desk.ask(
        "Refund order 7",
        calls(("refund_order", {"order_id": "7", "amount_cents": 100})),
        says("I may not."),
    )
    (denied,) = _decisions(house.desk.work(asked), "refund_order")
    words = _words(house.carol.words(f"/ledger/{denied.pk}/decision"))
    assert "Denied" in words
    assert "not_granted" in words
    assert "Nothing began, and nothing will." in words
    assert "The agent's grant was revoked on" in words


def test_an_effect_leads_to_its_decision_and_other_entries_to_none(house: House) -> None:
    run = house.completed
    begun = queries.entries(correlation=run.pk, kind="effect.begun")[0]
    answer = house.carol.get(f"/ledger/{begun.pk}/decision")
    assert answer["Location"] == f"/ledger/{begun.event['decision']}/decision"
    assert f'href="/ledger/{begun.pk}/decision"' in house.carol.words(f"/ledger/{begun.pk}")
    started = queries.entries(correlation=run.pk, kind="run.started")[0]
    assert house.carol.get(f"/ledger/{started.pk}/decision").status_code == 404


def test_whose_words_were_seen_is_recorded_entry_by_entry(house: House) -> None:
    run = house.approved
    (_, allowed) = _decisions(run, "refund_order")
    house.carol.words(f"/ledger/{allowed.pk}/decision")
    viewed = {each.event["entry"] for each in queries.entries(kind="ledger.viewed")}
    story = stories.tell(allowed, principal=house.desk.cast.carol)
    private = queries.opened([each.pk for each in story.entries])
    assert viewed == {str(pk) for pk in private}
    assert len(viewed) == 5  # two decisions, the evidence, the vote's reason, the outcome


def test_it_is_linked_from_runs_approvals_and_the_list(house: House) -> None:
    address = f'href="/ledger/{house.decision}/decision"'
    assert address in house.carol.words(f"/runs/{house.held.pk}")
    assert address in house.carol.words(f"/approvals/{house.approval}")
    assert address in house.carol.words("/ledger", {"kind": "intent.decided"})
    assert address not in house.bob.words(f"/approvals/{house.approval}")


def test_the_words_of_somebody_who_was_erased_are_gone_and_the_entry_that_says_so_is_named(
    house: House,
) -> None:
    run = house.completed
    decision = _decisions(run, "answers")[0]
    robo = house.desk.cast.robo.id
    runs.cancel(house.held, by=house.desk.cast.alice, now=house.desk.now)
    asked = erasing.request(
        f"client_app:{robo}", legal_basis="A law", by=house.desk.cast.alice, now=house.desk.now
    )
    erasing.approve(asked, by=house.desk.cast.carol, now=house.desk.now)
    seal()
    (erased,) = queries.entries(kind="subject.erased")
    page = house.carol.words(f"/ledger/{decision.pk}/decision")
    assert f'href="/ledger/{erased.pk}">entry {erased.index}</a>' in page
    assert "How long may I return" not in page
    assert "does not hold" not in page


def test_a_proof_is_downloaded_and_verifies(house: House) -> None:
    assert house.carol.get(f"/ledger/{house.decision}/proof").status_code == 409
    seal()
    answer = house.carol.get(f"/ledger/{house.decision}/proof")
    entry = queries.access_entry(house.decision)
    assert answer["Content-Disposition"] == f'attachment; filename="{entry.index}.tlog-proof"'
    leaf = proofs.leaf_hash(queries.inclusion(entry).leaf)
    newest = queries.latest_checkpoint()
    keys = parse_keys(newest.verifier_key)
    assert tlog_proof.verify(answer.content.decode(), leaf, *keys).size == newest.size


def test_a_decision_takes_few_queries(house: House, django_assert_max_num_queries: Any) -> None:
    run = house.approved
    seal()
    (_, allowed) = _decisions(run, "refund_order")
    house.carol.words("/")
    with django_assert_max_num_queries(70):
        house.carol.words(f"/ledger/{allowed.pk}/decision")


class _Forged(msgspec.Struct):
    """An entry whose event is not what was recorded."""

    entry: Any
    changed: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.entry, name)

    @property
    def event(self) -> dict[str, Any]:
        return {**self.entry.event, **self.changed}


def _judged(house: House, kind: str, **changed: Any) -> dict[str, Finding]:
    """What is found where the first entry of a kind says something else."""
    (_, allowed) = _decisions(house.approved, "refund_order")
    story = stories.tell(allowed, principal=house.desk.cast.carol)
    at = next(at for at, each in enumerate(story.entries) if each.kind == kind)
    forged: Any = _Forged(story.entries[at], changed)
    told = msgspec.structs.replace(
        story, entries=[*story.entries[:at], forged, *story.entries[at + 1 :]]
    )
    parts = ledgers.look_at(story.entries, by=house.desk.cast.carol)
    proven = findings.proven(told.entries, queries.inclusions(story.entries), "x")
    return {each.title: each for each in findings.judge(told, parts, proven)}


@pytest.mark.parametrize(
    ("kind", "changed", "title"),
    [
        ("approval.approved", {"shown": "0" * 64}, "Shown"),
        ("approval.approved", {"intent": "0" * 64}, "Same act"),
        ("effect.begun", {"intent": "0" * 64}, "Same act"),
        ("effect.begun", {"decision": "0"}, "Decided first"),
        ("approval.opened", {"shown": "0" * 64}, "Words"),
        ("approval.opened", {"requester": {"kind": "member", "id": "BOB"}}, "Two people"),
        ("effect.begun", {}, "Sealed"),
    ],
)
def test_what_does_not_fit_together_is_found(
    house: House, kind: str, changed: dict[str, Any], title: str
) -> None:
    seal()
    if "requester" in changed:
        changed = {"requester": {"kind": "member", "id": house.desk.cast.bob.id}}
    found = _judged(house, kind, **changed)
    assert not found[title].holds, found
