"""The console when the ledger and the data differ, and when what began never ended."""

from __future__ import annotations

from acme_house import House
from django.db import transaction

from audit import ledger
from audit.events import SYSTEM
from audit.ids import new_id
from runtime import unsettled
from runtime.events import EffectUnknown, LedgerReconciled

WORDS = "The ledger and the data differ in 3 places"


def _reconciled(differing: int) -> str:
    event = LedgerReconciled(
        compared={"runs": 7},
        differing=differing,
        differences=[{"what": "runs", "row": str(new_id())}][:differing],
    )
    with transaction.atomic():
        return str(ledger.record(event, actor=SYSTEM))


def test_a_difference_is_told_on_the_first_page_and_on_the_ledgers(house: House) -> None:
    entry = _reconciled(3)
    for path in ("/", "/ledger"):
        page = house.carol.words(path)
        assert WORDS in page
        assert f'href="/ledger/{entry}"' in page
    assert WORDS not in house.bob.words("/")


def test_nothing_is_told_once_the_newest_comparison_found_nothing(house: House) -> None:
    _reconciled(3)
    _reconciled(0)
    for path in ("/", "/ledger"):
        assert "The ledger and the data differ" not in house.carol.words(path)


def test_what_began_and_never_ended_is_told_on_the_first_page(house: House) -> None:
    assert "begun and never ended" not in house.carol.words("/")
    event = EffectUnknown(
        intent="0" * 64,
        action="call_model",
        resource="answers",
        decision=str(new_id()),
        code=unsettled.CODE,
    )
    with transaction.atomic():
        ledger.record(event, actor=SYSTEM, correlation=new_id())
    page = house.carol.words("/")
    assert "effect begun and never ended" in page
    assert "/ledger?kind=effect.unknown" in page
