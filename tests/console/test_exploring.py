"""The explorer: what narrows the ledger's entries, chips, pages, the chart, its queries."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from acme_house import House
from django.db import connection
from django.utils import timezone
from visiting import seal

from audit import queries
from console import columns, narrowing, pages
from console.narrowing import Narrowing
from runtime.models import LedgerExport

pytestmark = pytest.mark.usefixtures("refund_held")

NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)


def _kinds(page: str) -> set[str]:
    return set(re.findall(r'<a href="/ledger/[0-9a-f-]{36}">([a-z_.]+)</a>', page))


def test_entries_are_found_by_kind_run_actor_agent_time_and_words(house: House) -> None:
    run = str(house.held.pk)
    assert _kinds(house.carol.words("/ledger", {"kind": "run.", "correlation": run})) == {
        "run.started",
        "run.held",
    }
    assert _kinds(house.carol.words("/ledger", {"kind": "run.held"})) == {"run.held"}
    assert "run.held" in _kinds(house.carol.words("/ledger", {"text": house.approval}))
    dave = house.desk.cast.dave.id
    assert "tool.added" in _kinds(house.carol.words("/ledger", {"actor": dave}))
    by_agent = _kinds(house.carol.words("/ledger", {"agent": "refund-desk"}))
    assert "effect.begun" in by_agent
    assert "run.started" not in by_agent
    assert "No entry fits" in house.carol.words("/ledger", {"before": "2020-01-01"})
    assert "No entry fits" in house.carol.words("/ledger", {"actor": "nobody"})
    assert "run.held" in _kinds(house.carol.words("/ledger", {"within": "1h"}))


def test_a_person_is_found_by_what_is_about_them(house: House) -> None:
    assert house.hold
    assert _kinds(house.carol.words("/ledger", {"person": "Judith"})) == {"hold.placed"}


def test_a_filter_that_can_not_be_understood_is_said_and_shows_nothing(house: House) -> None:
    assert house.held
    wrong = {"after": "not a day", "correlation": "not an id", "within": "2 moons"}
    answer = house.carol.get("/ledger", wrong)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "“not a day” is no time, so nothing is looked for." in page
    assert "“not an id” is no run&#x27;s id" in page
    assert "“2 moons” is no length of time" in page
    assert _kinds(page) == set()
    assert 'class="cs-chip"' not in page


def test_nothing_is_exported_where_a_filter_can_not_be_understood(house: House) -> None:
    answer = house.carol.post("/ledger/exports/begin?correlation=not+an+id")
    assert answer.status_code == 422
    assert "“not an id” is no run&#x27;s id" in answer.content.decode()
    assert not LedgerExport.objects.exists()
    assert house.held
    seal()
    offered = house.carol.words("/ledger/exports?correlation=not+an+id")
    assert "“not an id” is no run&#x27;s id" in offered
    assert "Make the bundle" not in offered
    assert "Make the bundle" in house.carol.words("/ledger/exports")


def test_each_filter_in_force_is_a_chip_that_clears_it_alone(house: House) -> None:
    asked = {"kind": "run.", "within": "24h", "actor": house.desk.cast.alice.id}
    page = house.carol.words("/ledger", asked)
    chips = re.findall(r'class="cs-chip" href="\?([^"]*)"><span>([A-Za-z]+): <strong>([^<]*)', page)
    assert {(label, value) for _, label, value in chips} == {
        ("Kind", "every run"),
        ("Time", "The last 24 hours"),
        ("Actor", "Alice"),
    }
    cleared = {label: parse_qs(query.replace("&amp;", "&")) for query, label, _ in chips}
    assert cleared["Kind"] == {"within": ["24h"], "actor": [asked["actor"]]}
    assert "Clear all" in page
    assert "Clear all" not in house.carol.words("/ledger")


def test_the_fields_keep_what_was_asked_for(house: House) -> None:
    asked = {"kind": "run.", "actor": "gone", "text": '"><b>', "after": "2026-01-02T03:04:05"}
    page = house.carol.words("/ledger", asked)
    assert '<option value="run." selected>every run</option>' in page
    assert "<option selected>gone</option>" in page
    assert 'value="&quot;&gt;&lt;b&gt;"' in page
    assert 'value="2026-01-02T03:04:05"' in page
    assert re.search(r'<details class="cs-more cs-further" open>', page)
    assert 'data-key="/"' in page


def test_a_list_is_walked_in_both_directions_without_a_gap(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.held
    expected = [str(row.pk) for row in queries.entries()]
    monkeypatch.setattr(pages.stretch, "__kwdefaults__", {"size": len(expected) // 6})
    address, seen, back = "/ledger", [], ""
    while address:
        page = house.carol.words(address)
        seen.append(re.findall(r'data-row="([0-9a-f-]{36})"', page))
        address, back = _link(page, "next"), _link(page, "prev")
    assert len(seen) >= 6
    assert [row for rows in seen for row in rows] == expected
    for shown in reversed(seen[:-1]):
        page = house.carol.words(back)
        assert re.findall(r'data-row="([0-9a-f-]{36})"', page) == shown
        back = _link(page, "prev")
    assert _link(page, "prev") == ""


def _link(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="(\?[^"]*)"', page)
    return "/ledger" + found[1].replace("&amp;", "&") if found else ""


def test_a_page_before_the_newest_is_the_first_page_and_one_after_the_oldest_is_empty(
    house: House,
) -> None:
    assert house.entry
    first, last = queries.entries().first(), queries.entries().last()
    assert first is not None
    assert last is not None
    newest = house.carol.words("/ledger", {"newer": str(first.pk)})
    assert f'data-row="{first.pk}"' in newest
    assert "data-row" not in house.carol.words("/ledger", {"older": str(last.pk)})


def _chart(found: Any, asked: Narrowing) -> columns.Chart | None:
    return columns.chart(found, asked, now=timezone.now())


def test_the_chart_counts_every_entry_and_its_bars_narrow_to_their_time(house: House) -> None:
    assert house.held
    found = queries.entries()
    made = _chart(found, Narrowing())
    assert made is not None
    assert made.total == sum(each.count for each in made.columns) == found.count()
    assert made.highest == max(each.count for each in made.columns)
    assert len(made.columns) <= columns.MOST_COLUMNS
    tallest = max(made.columns, key=lambda each: each.count)
    page = house.carol.words(f"/ledger?{tallest.query}")
    assert f"<strong>{tallest.count}</strong> entr" in page
    assert made.columns[-1].begin < made.ends_at


def test_the_chart_spans_the_time_that_is_asked_for(house: House) -> None:
    assert house.held
    asked, _ = narrowing.read({"within": "7d"})
    made = _chart(queries.entries(**asked.filters(timezone.now())), asked)
    assert made is not None
    assert (made.step, len(made.columns)) in {("3 hours", 57), ("3 hours", 58)}
    assert [each.count for each in made.columns[:-2]] == [0] * (len(made.columns) - 2)


def test_there_is_no_chart_of_nothing(house: House) -> None:
    asked, _ = narrowing.read({"actor": "nobody"})
    assert _chart(queries.entries(actor="nobody"), asked) is None


def test_older_entries_than_can_be_counted_are_said_to_be_left_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.held
    monkeypatch.setattr(columns, "MOST_COUNTED", 5)
    page = house.carol.words("/ledger")
    assert "<strong>5</strong> entries (older ones are not counted)" in page


@pytest.mark.parametrize(
    ("typed", "begin", "end"),
    [
        ({"within": "1h"}, NOW - timedelta(hours=1), None),
        ({"after": "2026-03-01"}, datetime(2026, 3, 1, tzinfo=UTC), None),
        ({"after": "2026-03-01T08:00", "within": "1h"}, datetime(2026, 3, 1, 8, tzinfo=UTC), None),
        ({"before": "2026-03-01T08:00:00+02:00"}, None, datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ({"after": "0001-01-01T00:00+14:00"}, None, None),
        ({"before": "9999-12-31T23:59-14:00"}, None, None),
    ],
)
def test_times_are_in_utc_and_exact_ones_win(
    typed: dict[str, str], begin: datetime | None, end: datetime | None
) -> None:
    asked, _ = narrowing.read(typed)
    assert (asked.begins_at(NOW), asked.ends_at) == (begin, end)


@pytest.mark.parametrize("moment", ["0001-01-01", "1969-12-31T23:59", "9999-12-31T23:59:59"])
def test_a_moment_that_no_entry_can_be_of_is_said(house: House, moment: str) -> None:
    for name in ("after", "before"):
        answer = house.carol.get("/ledger", {name: moment})
        assert answer.status_code == 422
        assert f"“{moment}” is no time" in answer.content.decode()


def _plan(**filters: Any) -> str:
    found = queries.entries(**filters)[:51]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan: str = found.explain()
    return plan


def test_a_stretch_of_time_is_found_by_the_ids_that_were_made_in_it(house: House) -> None:
    assert house.held
    plan = _plan(after=NOW, before=NOW + timedelta(hours=1))
    assert any(
        "Index Cond" in line and "id >=" in line and "id <" in line for line in plan.splitlines()
    ), plan


def test_the_way_to_an_export_keeps_the_filters(house: House) -> None:
    page = house.carol.words("/ledger", {"kind": "run.", "within": "24h"})
    export = re.search(r'href="(/ledger/exports\?[^"]*)"', page)
    assert export
    asked = parse_qs(urlsplit(export[1].replace("&amp;", "&")).query)
    assert asked == {"kind": ["run."], "within": ["24h"]}
