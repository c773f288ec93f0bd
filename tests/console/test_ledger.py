"""The ledger: searching, proving, verifying, exporting."""

from __future__ import annotations

import io
from pathlib import Path

from acme_house import House
from django.utils import timezone
from visiting import seal

from audit import queries
from audit.verify import checks


def test_entries_are_found_by_kind_run_actor_day_and_words(house: House) -> None:
    kinds = house.carol.words("/ledger", {"kind": "run.", "run": str(house.held.pk)})
    assert "run.held" in kinds
    assert ">intent.decided</a>" not in kinds
    assert ">run.held</a>" in house.carol.words("/ledger", {"q": house.approval})
    assert "No entry fits" in house.carol.words("/ledger", {"actor": "nobody"})
    assert "No entry fits" in house.carol.words("/ledger", {"until": "2020-01-01"})
    assert "run.held" in house.carol.words("/ledger", {"from": "not a day", "run": "not an id"})


def test_an_entry_is_proven_once_it_is_published(house: House) -> None:
    path = f"/ledger/{house.entry}"
    assert "no checkpoint that covers this yet" in house.carol.words(path)
    seal()
    page = house.carol.words(path)
    assert "It holds: the leaf" in page
    entry = queries.access_entry(house.entry)
    assert bytes(entry.leaf.leaf_hash).hex() in page
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


def test_a_bundle_is_downloaded_verifies_and_is_recorded(house: House, tmp_path: Path) -> None:
    seal()
    answer = house.carol.post("/ledger/export")
    assert answer["Content-Type"] == "application/zstd"
    assert answer["Content-Disposition"].startswith('attachment; filename="acme-ledger-')
    bundle = tmp_path / "bundle.tar.zst"
    bundle.write_bytes(io.BytesIO(answer.getvalue()).getvalue())
    assert checks.verify(bundle, now=timezone.now()).verdict == "whole"
    assert queries.entries(kind="ledger.exported", actor=house.desk.cast.carol.id).count() == 1


def test_an_export_is_about_what_the_list_is_narrowed_to(house: House) -> None:
    seal()
    page = house.carol.get("/ledger?kind=run.&actor=robo").content.decode()
    assert 'action="/ledger/export?kind=run.&amp;actor=robo"' in page
    answer = house.carol.post("/ledger/export?kind=run.&from=2026-01-01")
    assert (answer.status_code, len(answer.getvalue()) > 0) == (200, True)
    (exported,) = queries.entries(kind="ledger.exported")
    assert exported.event["filter"] == {"kind": "run.", "after": "2026-01-01T00:00:00.000000Z"}


def test_an_export_before_the_first_checkpoint_says_so(house: House) -> None:
    assert house.carol.post("/ledger/export")["Location"] == "/ledger"
    assert "no checkpoint that covers this yet" in house.carol.words("/ledger")


def test_the_home_page_says_how_far_the_ledger_is(house: House) -> None:
    assert "None yet" in house.carol.words("/")
    seal()
    assert "Latest checkpoint" in house.carol.words("/")
    assert "Latest checkpoint" not in house.vera.words("/")
