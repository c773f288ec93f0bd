"""The page that says how the ledger is: sealed, vouched for, held, erased."""

from __future__ import annotations

from datetime import timedelta

import pytest
from acme_house import House
from own_halts import as_sequencer
from visiting import seal

from audit import outside, queries
from console import ledger_status


def _vouch(*, kind: str, size: int, key: str = "") -> None:
    log = queries.own_log().pk
    with as_sequencer() as cursor:
        if kind == "cosignature":
            cursor.execute(
                "INSERT INTO audit.cosignature (log_id, size, verifier_key, line)"
                " VALUES (%s, %s, %s, '')",
                [log, size, key],
            )
        else:
            cursor.execute(
                "INSERT INTO audit.anchor (log_id, size, place, evidence) VALUES (%s, %s, %s, '')",
                [log, size, kind],
            )


def test_what_waits_and_what_is_sealed_is_counted(house: House) -> None:
    assert house.hold
    waiting = queries.status().pending
    page = house.carol.words("/ledger/status")
    assert f"{waiting}, the oldest for " in page
    assert "The sequencer publishes one within a second" in page
    seal()
    page = house.carol.words("/ledger/status")
    status = queries.status()
    assert status.pending == 0
    assert f'<dd class="cs-number">{status.size}</dd>' in page
    assert "Up to date" in page
    assert str(queries.latest_checkpoint().verifier_key)[-8:] in page


def test_a_sequencer_that_does_not_run_shows(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    seal()
    assert house.hold
    assert "The ledger is late" not in house.carol.words("/ledger/status")
    monkeypatch.setattr(ledger_status, "LATE", timedelta(0))
    page = house.carol.words("/ledger/status")
    assert "The ledger is late" in page
    assert "no sequencer has put them into the tree" in page


def test_the_lag_is_from_recording_to_sealing(house: House) -> None:
    assert queries.sealing_lag() is None
    assert house.hold
    seal()
    lag = queries.sealing_lag()
    assert lag is not None
    assert timedelta(0) <= lag < timedelta(minutes=1)


def test_whoever_vouches_is_listed_with_how_far_they_are_behind(house: House) -> None:
    seal()
    assert "No checkpoint is outside." in house.carol.words("/ledger/status")
    first = queries.latest_checkpoint().size
    _vouch(kind="cosignature", size=first, key="witness.example/a+0f0f0f0f+AAAA")
    _vouch(kind="timestamp", size=first)
    assert house.hold
    seal()
    second = queries.latest_checkpoint().size
    _vouch(kind="cosignature", size=second, key="witness.example/b+0e0e0e0e+AAAA")
    _vouch(kind="sink", size=second)
    found = {(each.kind, each.name.partition("+")[0]): each.size for each in outside.vouchers()}
    assert found == {
        ("cosignature", "witness.example/a"): first,
        ("cosignature", "witness.example/b"): second,
        ("timestamp", ""): first,
        ("sink", ""): second,
    }
    page = house.carol.words("/ledger/status")
    assert f"<strong>{second} entries</strong>, less than a minute" not in page  # it has a title
    assert f"<strong>{second} entries</strong>" in page
    assert "less than a minute" in page
    assert f'data-label="Behind">{second - first}</td>' in page
    for words in ("witness.example/a", "Timestamping authority", "Checkpoint sink"):
        assert words in page
    assert "No checkpoint is outside." not in page


def test_holds_and_erasures_are_counted_with_what_they_mean(house: House) -> None:
    page = house.carol.words("/ledger/status")
    assert "None stands." in page
    assert house.hold
    assert house.erasure
    page = house.carol.words("/ledger/status")
    assert f'href="/ledger/{house.hold}"' in page
    assert "<strong>1</strong> stands" in page
    assert "What is held can neither be erased nor pruned" in page
    assert '<dt>Wait for a second person</dt><dd class="cs-number">1</dd>' in page
    assert "Judith" not in page
    assert "Jonas" not in page
