"""Saved views: one's own, shared ones, what of it is recorded, and who changes them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from acme_house import House

from audit import queries
from runtime import erasing, saved_views
from runtime.models import SavedView


def _save(house: House, who: str = "carol", query: str = "kind=run.&within=7d", **form: str) -> Any:
    return house.people[who].post(f"/ledger/views/save?{query}", {"name": "Runs", **form})


def _kinds() -> list[str]:
    return [each.kind for each in queries.entries(kind="saved_view.").reverse()]


def test_filters_are_saved_and_one_click_away(house: House) -> None:
    offered = house.carol.words("/ledger", {"kind": "run.", "within": "7d"})
    assert 'action="/ledger/views/save?kind=run.&amp;within=7d"' in offered
    assert "Save these filters" not in house.carol.words("/ledger")
    assert _save(house)["Location"] == "/ledger?kind=run.&within=7d"
    page = house.carol.words("/ledger", {"kind": "run.", "within": "7d"})
    assert "The view Runs is saved. Only you see it." in page
    assert re.search(r'href="/ledger\?kind=run\.&amp;within=7d" aria-current="page"', page)
    elsewhere = house.carol.words("/ledger")
    assert 'href="/ledger?kind=run.&amp;within=7d">' in elsewhere
    assert 'href="/ledger?kind=run.&amp;within=7d">Runs</a>' in house.carol.words("/ledger/views")


def test_a_private_view_is_ones_own_and_no_entry(house: House) -> None:
    _save(house)
    row = SavedView.objects.get()
    assert "No view is saved yet" in house.alice.words("/ledger/views")
    for act in ("change", "remove"):
        answer = house.alice.post(f"/ledger/views/{row.pk}/{act}", {"name": "Mine"})
        assert answer.status_code == 404
    house.carol.post(f"/ledger/views/{row.pk}/change", {"name": "All runs"})
    house.carol.post(f"/ledger/views/{row.pk}/remove")
    assert not SavedView.objects.exists()
    assert _kinds() == []


def test_a_shared_view_is_seen_by_all_who_read_the_ledger_and_each_change_is_recorded(
    house: House,
) -> None:
    _save(house, shared="on")
    row = SavedView.objects.get()
    page = house.alice.words("/ledger/views")
    assert "Runs" in page
    assert "Carol" in page
    assert "Kind <strong>every run</strong>" in page
    house.carol.post(f"/ledger/views/{row.pk}/change", {"name": "All runs", "shared": "on"})
    house.carol.post(f"/ledger/views/{row.pk}/change", {"name": "All runs", "shared": "on"})
    house.carol.post(f"/ledger/views/{row.pk}/change", {"name": "All runs"})
    assert "All runs" not in house.alice.words("/ledger/views")
    house.carol.post(f"/ledger/views/{row.pk}/change", {"name": "All runs", "shared": "on"})
    house.carol.post(f"/ledger/views/{row.pk}/remove")
    assert _kinds() == [
        "saved_view.shared",
        "saved_view.renamed",
        "saved_view.withdrawn",
        "saved_view.shared",
        "saved_view.withdrawn",
    ]
    shared = queries.entries(kind="saved_view.shared").last()
    assert shared is not None
    assert shared.event["view"] == str(row.pk)
    assert queries.private(shared)["filters"]["value"] == {"kind": "run.", "within": "7d"}
    assert queries.private(shared)["name"]["value"] == "Runs"
    assert "Runs" not in str(shared.event)


def test_an_admin_changes_what_others_share_but_makes_nothing_private(house: House) -> None:
    _save(house, shared="on")
    row = SavedView.objects.get()
    house.alice.post(f"/ledger/views/{row.pk}/change", {"name": "Renamed"})
    row.refresh_from_db()
    assert (row.name, row.shared) == ("Renamed", True)
    house.alice.post(f"/ledger/views/{row.pk}/remove")
    assert not SavedView.objects.exists()


def test_an_auditor_only_uses_what_an_admin_shares(house: House) -> None:
    _save(house, who="alice", shared="on")
    row = SavedView.objects.get()
    assert "Runs" in house.carol.words("/ledger/views")
    assert f"/ledger/views/{row.pk}/change" not in house.carol.words("/ledger/views")
    assert house.carol.post(f"/ledger/views/{row.pk}/remove").status_code == 404


@pytest.mark.parametrize(
    ("query", "name", "said"),
    [
        ("kind=run.", "", "has a name of 1 to 100 characters"),
        ("kind=run.", "x" * 101, "has a name of 1 to 100 characters"),
        ("kind=run.", "a\nb", "has a name of 1 to 100 characters"),
        ("", "Nothing", "There is nothing to save"),
        ("after=never", "Nothing", "“never” is no time"),
        ("kind=run.", "Taken", "You have a saved view of the name Taken already"),
    ],
)
def test_what_can_not_be_saved_is_said(house: House, query: str, name: str, said: str) -> None:
    _save(house, name="Taken")
    house.carol.words("/ledger")
    _save(house, query=query, name=name)
    assert said in house.carol.words("/ledger")
    assert SavedView.objects.count() == 1


def test_two_members_may_use_one_name_and_nobody_has_too_many(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(house)
    _save(house, who="alice")
    assert SavedView.objects.count() == 2
    monkeypatch.setattr(saved_views, "MOST_VIEWS", 1)
    _save(house, name="Another")
    assert "You have 1 saved views" in house.carol.words("/ledger")


def test_whoever_is_erased_is_erased_from_saved_views(house: House) -> None:
    for name, query in {
        "a": "person=Jonas",
        "b": "text=order+of+jonas%21",
        "About Jonas": "kind=run.",
        "kept": "text=Jonason",
    }.items():
        _save(house, query=query, name=name)
    asked = erasing.request(
        "Jonas", legal_basis="A law", by=house.desk.cast.alice, now=house.desk.now
    )
    done = erasing.approve(asked, by=house.desk.cast.carol, now=house.desk.now)
    assert done.receipts["saved_views"] == 3
    assert [row.name for row in SavedView.objects.all()] == ["kept"]
