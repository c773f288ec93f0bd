"""Erasures, legal holds and retention over the API."""

from __future__ import annotations

from typing import Any

from callers import Caller, Estate

from audit import holds
from audit.queries import entries

ERIKA = {"person": "Erika Mustermann", "legal_basis": "GDPR art. 17(1)(a)"}


def _ask(caller: Caller, body: dict[str, str] = ERIKA, **headers: str) -> dict[str, Any]:
    answer = caller.post("erasures", body, **headers)
    assert answer.status_code == 201, answer.content
    assert answer["Location"] == f"/api/v1/erasures/{answer.json()['id']}"
    return dict(answer.json())


def test_one_asks_and_another_approves(estate: Estate, alice: Caller, carol: Caller) -> None:
    asked = _ask(alice)
    assert (asked["state"], asked["person"]) == ("requested", "person:Erika Mustermann")
    done = carol.post(f"erasures/{asked['id']}/approval")
    assert done.status_code == 201, done.content
    shown = carol.get(f"erasures/{asked['id']}").json()
    assert shown == done.json()
    assert (shown["state"], shown["person"], shown["receipts"]["runs"]) == ("done", "", 0)
    assert carol.get(f"ledger/entries/{shown['entry']}").json()["kind"] == "subject.erased"


def test_the_second_person_is_another_one(acme: Any, alice: Caller, carol: Caller) -> None:
    asked = _ask(alice)
    refused = alice.post(f"erasures/{asked['id']}/approval")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_person_needed")
    assert carol.post(f"erasures/{asked['id']}/approval").status_code == 201
    again = carol.post(f"erasures/{asked['id']}/approval")
    assert (again.status_code, again.json()["code"]) == (409, "erasure_settled")


def test_a_retried_approval_erases_once(acme: Any, alice: Caller, carol: Caller) -> None:
    asked = _ask(alice, idempotency_key="ask")
    assert _ask(alice, idempotency_key="ask") == asked
    path = f"erasures/{asked['id']}/approval"
    first = carol.post(path, idempotency_key="yes")
    second = carol.post(path, idempotency_key="yes")
    assert (first.status_code, second.json()) == (201, first.json())
    assert entries(kind="subject.erased").count() == 1


def test_what_was_answered_to_the_request_forgets_the_name(
    acme: Any, alice: Caller, carol: Caller
) -> None:
    asked = _ask(alice, idempotency_key="ask")
    carol.post(f"erasures/{asked['id']}/approval")
    again = alice.post("erasures", ERIKA, idempotency_key="ask")
    assert (again.status_code, again.content, again["Idempotent-Replayed"]) == (201, b"", "true")


def test_a_request_can_be_rejected(acme: Any, alice: Caller, carol: Caller) -> None:
    asked = _ask(alice)
    done = carol.post(f"erasures/{asked['id']}/rejection").json()
    assert (done["state"], done["person"], done["entry"]) == ("rejected", "", None)
    found = carol.get("erasures", {"state": "rejected"}).json()["results"]
    assert [row["id"] for row in found] == [asked["id"]]
    assert carol.get("erasures", {"state": "done"}).json()["results"] == []


def test_whoever_has_an_unfinished_run_waits(estate: Estate, alice: Caller, carol: Caller) -> None:
    robo = {**ERIKA, "person": estate.desk.cast.robo.id}
    asked = _ask(alice, robo)
    refused = carol.post(f"erasures/{asked['id']}/approval")
    assert (refused.status_code, refused.json()["code"]) == (409, "subject_active")


def test_others_neither_see_nor_touch_any_of_it(
    acme: Any, alice: Caller, bob: Caller, dave: Caller, robo: Caller
) -> None:
    asked = _ask(alice)
    for caller in (bob, dave, robo):
        for path in ("erasures", f"erasures/{asked['id']}", "holds", "retention"):
            assert caller.get(path).status_code == 403, path
        assert caller.post("erasures", ERIKA).status_code == 403
        assert caller.post("holds", {"reason": "r"}).status_code == 403
        assert caller.post(f"erasures/{asked['id']}/approval").status_code == 403
        assert caller.put("retention", {"months": {}}).status_code == 403


def test_bad_requests_say_what_is_wrong(acme: Any, alice: Caller) -> None:
    for body, code in (
        ({**ERIKA, "legal_basis": "Erika Mustermann asked"}, "legal_basis_invalid"),
        ({**ERIKA, "person": "a\nb"}, "person_invalid"),
        ({"person": "Erika"}, "invalid_input"),
        ({**ERIKA, "more": 1}, "invalid_input"),
    ):
        answer = alice.post("erasures", body)
        assert answer.status_code == 422, body
        assert answer.json()["code"] == code or "errors" in answer.json()


def test_a_hold_is_placed_seen_and_released(acme: Any, alice: Caller, carol: Caller) -> None:
    placed = carol.post("holds", {"person": "Erika Mustermann", "reason": "The case 7 C 12/26"})
    assert placed.status_code == 201
    hold = placed.json()
    assert placed["Location"] == f"/api/v1/holds/{hold['id']}"
    assert (hold["person"], hold["is_on_everything"]) == ("person:Erika Mustermann", False)
    assert carol.get("holds").json()["results"] == [hold]
    refused = alice.post("erasures", ERIKA)
    assert (refused.status_code, refused.json()["code"]) == (409, "under_hold")
    done = alice.post(f"holds/{hold['id']}/release", {"reason": "Settled."})
    assert (done.status_code, done.json()["released_at"] is not None) == (201, True)
    assert alice.get(f"holds/{hold['id']}").json() == done.json()
    again = alice.post(f"holds/{hold['id']}/release", {"reason": "Settled."})
    assert (again.status_code, again.json()["code"]) == (409, "hold_ended")
    _ask(alice)


def test_a_hold_without_a_person_is_on_everything(acme: Any, alice: Caller) -> None:
    hold = alice.post("holds", {"reason": "An inspection"}, idempotency_key="h").json()
    assert alice.post("holds", {"reason": "An inspection"}, idempotency_key="h").json() == hold
    assert (hold["person"], hold["is_on_everything"]) == (None, True)
    assert holds.standing().count() == 1
    assert alice.post("erasures", ERIKA).json()["code"] == "under_hold"


def test_retention_is_shown_and_replaced(acme: Any, alice: Caller, carol: Caller) -> None:
    assert carol.get("retention").json() == {"months": {}}
    months = {"months": {"run.": 24}}
    assert alice.put("retention", months).json() == months
    assert carol.get("retention").json() == months
    assert carol.put("retention", months).status_code == 403
    for wrong in ({"run.": 5}, {"run.": "24"}, {"run": 24}):
        assert alice.put("retention", {"months": wrong}).status_code == 422, wrong
    assert carol.get("retention").json() == months
