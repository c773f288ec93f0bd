"""The ledger's pages when it is halted."""

from __future__ import annotations

from acme_house import House
from own_halts import REASON, halt

from audit import outside, queries


def test_a_halted_ledger_says_so_and_what_to_do(house: House) -> None:
    assert "The ledger is halted" not in house.carol.words("/ledger")
    halt()
    page = house.carol.words("/ledger")
    assert "The ledger is halted since" in page
    assert "1000000 entries were signed" in page
    assert REASON in page
    assert "Was a backup restored" in page
    assert "Nobody has approved yet." in page
    assert REASON in house.carol.words("/ledger/status")


def test_two_people_approve_it_and_each_sees_who_did(house: House) -> None:
    halted = halt()
    path = f"/ledger/halts/{halted}"
    assert house.carol.post(path)["Location"] == "/ledger/status"
    page = house.carol.words("/ledger/status")
    assert "You approved the recovery. One more person has to approve it." in page
    assert "Approved by Carol; 1 more is needed." in page
    assert "You have approved. Somebody else has to, too." in page
    assert f'action="{path}"' not in page
    house.carol.post(path)
    assert "Somebody else has to, too." in house.carol.words("/ledger")
    assert f'action="{path}"' in house.alice.words("/ledger")
    house.alice.post(path)
    page = house.alice.words("/ledger/status")
    assert "You approved the recovery. The ledger goes on." in page
    assert "The ledger is halted" not in page
    assert queries.entries(kind="ledger.recovery_approved").count() == 2
    assert house.alice.post(path).status_code == 404


def test_whoever_does_not_keep_the_ledger_approves_nothing(house: House) -> None:
    halted = halt()
    for visitor in (house.bob, house.dave, house.vera):
        assert visitor.post(f"/ledger/halts/{halted}").status_code == 403
    assert [each.approvers for each in outside.halts()] == [()]
