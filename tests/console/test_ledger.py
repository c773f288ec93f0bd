"""The ledger: proving an entry, looking at it, verifying."""

from __future__ import annotations

import pytest
from acme_house import House
from visiting import seal

from audit import proofs, queries

pytestmark = pytest.mark.usefixtures("refund_held")


def test_an_entry_is_proven_once_it_is_published(house: House) -> None:
    path = f"/ledger/{house.entry}"
    assert "no checkpoint that covers this yet" in house.carol.words(path)
    seal()
    page = house.carol.words(path)
    assert "It holds: the leaf" in page
    leaf = queries.inclusion(queries.access_entry(house.entry)).leaf
    assert proofs.leaf_hash(leaf).hex() in page
    assert "signed checkpoint" in page


def test_looking_at_an_entry_is_recorded(house: House) -> None:
    house.carol.words(f"/ledger/{house.entry}")
    (viewed,) = queries.entries(kind="ledger.viewed")
    assert (viewed.event, viewed.actor_id) == ({"entry": house.entry}, house.desk.cast.carol.id)


def test_the_verifier_shows_each_check(house: House) -> None:
    early = house.carol.post("/ledger/verify")
    assert early.status_code == 409
    assert "Nothing to verify yet" in early.content.decode()
    seal()
    page = house.carol.post("/ledger/verify").content.decode()
    assert "The ledger is whole" in page
    for code in ("Manifest", "Signature", "Canonical", "Leaves", "Root"):
        assert f"<strong>{code}</strong>" in page


def test_the_home_page_says_how_far_the_ledger_is(house: House) -> None:
    assert "None yet" in house.carol.words("/")
    seal()
    assert "Latest checkpoint" in house.carol.words("/")
    assert "Latest checkpoint" not in house.vera.words("/")
