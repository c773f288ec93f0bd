"""A halted ledger: who may look, who may let it go on, and how often."""

from __future__ import annotations

from uuid import UUID

import pytest
from callers import Caller
from cast import Cast
from own_halts import REASON, halt

from audit import outside, queries


@pytest.fixture
def halted(acme: Cast) -> UUID:
    """The id of a halt of acme's ledger."""
    return halt()


def test_a_ledger_that_is_not_halted_has_no_halts(carol: Caller) -> None:
    assert carol.get("ledger/halts").json() == {"results": []}


def test_a_halt_says_what_was_signed_and_why(halted: UUID, carol: Caller) -> None:
    (found,) = carol.get("ledger/halts").json()["results"]
    assert found["id"] == str(halted)
    assert (found["signed_size"], found["signed_root"]) == (1_000_000, (b"r" * 32).hex())
    assert (found["reason"], found["approvers"], found["missing"]) == (REASON, [], 2)


def test_it_takes_an_admin_or_auditor_and_another_one(
    acme: Cast, halted: UUID, alice: Caller, carol: Caller
) -> None:
    path = f"ledger/halts/{halted}/approvals"
    first = alice.post(path)
    assert (first.status_code, first.json()) == (201, {"halt": str(halted), "missing": 1})
    again = alice.post(path)
    assert (again.status_code, again.json()["code"]) == (409, "recovery_approved_already")
    assert [each.approvers for each in outside.halts()] == [(acme.alice.id,)]
    assert carol.post(path).json()["missing"] == 0
    assert outside.halts() == []
    assert carol.post(path).status_code == 404
    kept = queries.entries(kind="ledger.recovery_approved")
    assert {entry.actor_id for entry in kept} == {acme.alice.id, acme.carol.id}
    assert {(entry.event["halt"], entry.event["signed_size"]) for entry in kept} == {
        (str(halted), 1_000_000)
    }


@pytest.mark.parametrize("who", ["bob", "dave", "robo"])
def test_nobody_else_may_look_or_approve(
    halted: UUID, who: str, request: pytest.FixtureRequest
) -> None:
    caller: Caller = request.getfixturevalue(who)
    for answer in (
        caller.get("ledger/halts"),
        caller.post(f"ledger/halts/{halted}/approvals"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert [each.approvers for each in outside.halts()] == [()]


def test_a_retry_with_the_same_key_is_answered_alike_and_approves_once(
    halted: UUID, carol: Caller
) -> None:
    path = f"ledger/halts/{halted}/approvals"
    answers = [carol.post(path, idempotency_key="once") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert queries.entries(kind="ledger.recovery_approved").count() == 1


def test_a_halt_that_does_not_exist_is_not_found(acme: Cast, carol: Caller) -> None:
    answer = carol.post(f"ledger/halts/{UUID(int=7)}/approvals")
    assert (answer.status_code, answer.json()["code"]) == (404, "halt_unknown")
