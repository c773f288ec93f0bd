"""Taking the ledger out: choosing, counting, watching, downloading, verifying."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest
from acme_house import House
from django.conf import LazySettings
from django.utils import timezone
from visiting import seal

from audit import queries
from audit.verify import checks
from runtime import exports
from runtime.models import LedgerExport

pytestmark = pytest.mark.usefixtures("refund_held")


@pytest.fixture(autouse=True)
def folder(settings: LazySettings, tmp_path: Path) -> Path:
    settings.EXPORTS_DIRECTORY = tmp_path / "exports"
    return tmp_path / "exports"


def _begun(house: House, query: str = "", **form: str) -> str:
    answer = house.carol.post(f"/ledger/exports/begin{query}", form)
    assert answer.status_code == 302, answer.content
    return str(answer["Location"])


def _make(address: str) -> None:
    exports.make(UUID(address.rpartition("/")[2]), clock=timezone.now)


def test_before_the_first_checkpoint_there_is_nothing_to_export(house: House) -> None:
    page = house.carol.words("/ledger/exports")
    assert "There is nothing to export yet" in page
    assert "Make the bundle" not in page


def test_how_many_entries_it_will_hold_is_shown_first(house: House) -> None:
    run = str(house.held.pk)
    seal()
    size = queries.latest_checkpoint().size
    assert f"<strong>All {size} entries</strong>" in house.carol.words("/ledger/exports")
    page = house.carol.words("/ledger/exports", {"kind": "run.", "correlation": run})
    assert "2 of the entries</strong> fit" in page
    assert f"The headers of all {size} entries go out in any case" in page
    assert f'action="/ledger/exports/begin?kind=run.&amp;correlation={run}"' in page


def test_what_an_auditor_could_not_run_again_is_left_out_and_said(house: House) -> None:
    seal()
    page = house.carol.words(
        "/ledger/exports", {"text": "x", "person": "y", "actor": "a", "agent": "b"}
    )
    assert "Words and persons are left out" in page
    assert "the agent is left out" in page
    assert 'action="/ledger/exports/begin?actor=a"' in page


def test_an_export_is_watched_downloaded_verifies_and_is_recorded(
    house: House, tmp_path: Path
) -> None:
    seal()
    address = _begun(house, "?kind=run.&agent=refund-desk&after=2026-01-01", bodies="selected")
    page = house.carol.words(address)
    assert f'hx-get="{address}"' in page
    assert 'hx-trigger="every 1s"' in page
    assert house.carol.get(f"{address}/bundle").status_code == 409
    assert not queries.entries(kind="ledger.exported")
    _make(address)
    part = house.carol.get(address, hx_request="true").content.decode()
    assert "<html" not in part
    assert "hx-get" not in part
    answer = house.carol.get(f"{address}/bundle")
    assert answer["Content-Type"] == "application/zstd"
    name = re.search(r'filename="(ledger-acme-[0-9TZ]+\.tar\.zst)"', answer["Content-Disposition"])
    assert name
    bundle = tmp_path / name[1]
    bundle.write_bytes(answer.getvalue())
    report = checks.verify(bundle, now=timezone.now())
    assert report.verdict == "whole"
    command = re.search(r'data-copy="(python -m audit\.verify [^"]+)"', part)
    assert command
    key = queries.latest_checkpoint().verifier_key
    assert command[1].replace("&#x27;", "'") == f"python -m audit.verify {name[1]} --key '{key}'"
    (exported,) = queries.entries(kind="ledger.exported", actor=house.desk.cast.carol.id)
    assert exported.event["filter"] == {
        "kind": "run.",
        "actor": "refund-desk",
        "after": "2026-01-01T00:00:00.000000Z",
    }
    assert exported.event["bodies"] == "selected"


def test_private_parts_stay_here_where_nobody_asked_for_them(house: House) -> None:
    seal()
    address = _begun(house, bodies="none")
    _make(address)
    (exported,) = queries.entries(kind="ledger.exported")
    assert exported.event["bodies"] == "none"
    assert "<dt>Private parts</dt><dd>None</dd>" in house.carol.words(address)


def test_progress_is_shown_while_it_is_made(house: House) -> None:
    address = _begun(house)
    rows = LedgerExport.objects.filter(pk=address.rpartition("/")[2])
    rows.update(state="running", done=20, total=50)
    page = house.carol.words(address)
    assert "20 of 50 entries are written." in page
    assert '<progress max="50" value="20">' in page


def test_why_it_failed_is_said(house: House) -> None:
    address = _begun(house)
    _make(address)
    page = house.carol.words(address)
    assert "The ledger had no checkpoint yet." in page
    assert "not_published" in page
    assert "Download" not in page


def test_past_exports_are_listed_for_whoever_asked(house: House) -> None:
    seal()
    address = _begun(house, "?kind=run.", bodies="none")
    _make(address)
    page = house.carol.words("/ledger/exports")
    assert f'href="{address}"' in page
    assert "without private parts" in page
    assert address not in house.alice.words("/ledger/exports")
    for path in (address, f"{address}/bundle"):
        assert house.alice.get(path).status_code == 404
    again = re.search(
        r'href="(/ledger/exports\?[^"]*)">Export the same', house.carol.words(address)
    )
    assert again
    assert again[1] == "/ledger/exports?kind=run."
