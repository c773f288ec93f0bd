"""The page of erasure, legal holds and retention."""

from __future__ import annotations

import pytest
from acme_house import House

from audit import holds
from audit.queries import entries
from runtime import retaining
from runtime.models import ErasureRequest

pytestmark = pytest.mark.usefixtures("refund_held")

ERIKA = {"person": "Erika Mustermann", "legal_basis": "GDPR art. 17(1)(a)"}


def test_one_asks_and_another_erases(house: House) -> None:
    assert "Nobody was erased" in house.alice.words("/erasures")
    assert house.alice.post("/erasures/request", ERIKA).status_code == 302
    (row,) = ErasureRequest.objects.all()
    approval = f"/erasures/{row.pk}/approve"
    assert approval not in house.alice.words("/erasures")
    page = house.carol.words("/erasures")
    assert approval in page
    assert "Erase Erika Mustermann" in page
    assert house.carol.post(approval).status_code == 302
    after = house.carol.words("/erasures")
    assert "Erika" not in after
    assert "Nobody knows any more" in after
    assert f"/ledger/{entries(kind='subject.erased')[0].pk}" in after


def test_whoever_asked_is_told_that_it_takes_another(house: House) -> None:
    house.alice.post("/erasures/request", ERIKA)
    row = ErasureRequest.objects.get()
    answer = house.alice.post(f"/erasures/{row.pk}/approve")
    assert answer.status_code == 403
    assert "another admin or auditor" in answer.content.decode()


def test_a_request_is_withdrawn(house: House) -> None:
    house.alice.post("/erasures/request", ERIKA)
    row = ErasureRequest.objects.get()
    assert "Withdraw" in house.alice.words("/erasures")
    house.alice.post(f"/erasures/{row.pk}/reject")
    assert "Rejected" in house.alice.words("/erasures")


def test_what_is_wrong_is_said_and_what_was_typed_is_kept(house: House) -> None:
    answer = house.alice.post("/erasures/request", {**ERIKA, "legal_basis": "Erika Mustermann"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "it names the person" in page
    assert 'value="Erika Mustermann"' in page


def test_a_hold_is_placed_and_released(house: House) -> None:
    assert "Nothing is held" in house.carol.words("/erasures")
    house.carol.post("/holds/place", {"held_person": "Erika", "reason": "The case 7 C 12/26"})
    house.carol.post("/holds/place", {"held_person": "", "reason": "An inspection"})
    page = house.alice.words("/erasures")
    assert "The case 7 C 12/26" in page
    assert "The whole ledger" in page
    assert house.alice.post("/erasures/request", ERIKA).status_code == 409
    for hold in list(holds.standing()):
        assert house.alice.post(f"/holds/{hold.pk}/release", {"reason": ""}).status_code == 422
        house.alice.post(f"/holds/{hold.pk}/release", {"reason": "Over."})
    assert not holds.standing().exists()
    assert house.alice.words("/erasures").count("Released") == 2


def test_an_admin_sets_the_retention_in_lines(house: House) -> None:
    kinds = "run. 24\r\n\r\n intent.decided   12 \r\n"
    assert house.alice.post("/retention", {"rules": kinds}).status_code == 302
    rules = retaining.rules(principal=house.desk.cast.alice)
    assert rules == {"intent.decided": 12, "run.": 24}
    assert "run. 24" in house.carol.words("/erasures")
    assert house.carol.post("/retention", {"rules": ""}).status_code == 403
    for wrong in ("run. 3", "run.", "run. two", "run. 24\nrun. 30", "everything 24"):
        answer = house.alice.post("/retention", {"rules": wrong})
        assert answer.status_code == 422, wrong
        assert wrong.split("\n", maxsplit=1)[0] in answer.content.decode()
    assert retaining.rules(principal=house.desk.cast.alice) == rules


def test_an_erased_run_and_its_approval_still_have_pages(house: House) -> None:
    assert house.held
    house.bob.post(f"/approvals/{house.approval}/vote", {"verdict": "reject", "reason": "No."})
    house.desk.work(house.held)
    house.alice.post("/erasures/request", {**ERIKA, "person": house.desk.cast.robo.id})
    row = ErasureRequest.objects.get()
    assert house.carol.post(f"/erasures/{row.pk}/approve").status_code == 302
    page = house.alice.words(f"/runs/{house.held.pk}")
    assert "[erased]" in page
    assert "1042" not in page
    assert "1042" not in house.alice.words(f"/approvals/{house.approval}")
    for path in ("/", "/runs", "/approvals", "/ledger"):
        house.alice.words(path)
