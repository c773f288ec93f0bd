"""What holds for every page: no inline script or style, few queries, plain words."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from acme_house import House
from visiting import seal

from audit.ids import new_id
from console import sentences
from console.templatetags import console as filters
from governance.models import Approval
from runtime.models import Run

pytestmark = pytest.mark.usefixtures("three_runs")

TEMPLATES = Path(__file__).parents[2] / "templates"
INLINE = re.compile(
    r"<style|<script(?![^>]*\ssrc=)|\sstyle\s*=|\son[a-z]+\s*=|javascript:", re.IGNORECASE
)
LISTS = {
    "/": 30,
    "/approvals": 14,
    "/runs": 14,
    "/agents": 14,
    "/tools": 12,
    "/documents": 16,
    "/collections/handbook/": 16,
    "/ledger": 24,
    "/ledger/views": 16,
    "/ledger/status": 40,
    "/ledger/exports": 24,
    "/streams": 14,
    "/erasures": 16,
    "/members": 12,
    "/keys": 14,
}
PAGES = [
    *LISTS,
    "/policies",
    "/policies/edit",
    "/agents/refund-desk/",
    "/agents/refund-desk/publish",
]


def test_no_template_has_inline_script_or_style() -> None:
    for template in TEMPLATES.rglob("*.html"):
        found = INLINE.findall(template.read_text())
        assert not found, f"{template} would break the Content-Security-Policy: {found}"


def test_no_page_has_inline_script_or_style_and_each_has_its_policy(house: House) -> None:
    assert house.entry
    seal()
    more = [
        f"/streams/{house.stream}/",
        f"/approvals/{house.approval}",
        f"/runs/{house.completed.pk}",
        f"/ledger/{house.entry}",
        f"/ledger/{house.decision}/decision",
    ]
    for path in [*PAGES, *more]:
        answer = house.alice.get(path)
        assert not INLINE.findall(answer.content.decode()), path
        policy = answer["Content-Security-Policy"]
        assert "'unsafe-inline'" not in policy
        assert "default-src 'self'" in policy
        assert "no-store" in answer["Cache-Control"]


def test_every_page_has_one_heading_a_main_landmark_and_labels(house: House) -> None:
    decision = f"/ledger/{house.decision}/decision"
    more = [f"/approvals/{house.approval}", f"/runs/{house.held.pk}", f"/streams/{house.stream}/"]
    for path in [*PAGES, *more, decision]:
        page = house.alice.words(path)
        assert page.count("<h1") == 1, path
        assert page.count("<main") == 1
        assert '<nav aria-label="Rooms">' in page
        assert 'lang="en' in page
        labels = set(re.findall(r'<label[^>]*for="([^"]+)"', page))
        fields = re.findall(
            r'<(?:input|select|textarea)(?![^>]*type="(?:hidden|checkbox|radio)")[^>]*id="([^"]+)"',
            page,
        )
        assert set(fields) <= labels, (path, set(fields) - labels)


def _many(house: House) -> None:
    """Two hundred runs, each held for an approval."""
    approval = Approval.objects.get(pk=house.approval)
    old = house.desk.now - timedelta(hours=1)
    made = [
        Run(
            version=house.held.version,
            task=f"Task {n}",
            requester_kind="member",
            requester="x",
            created_at=old,
        )
        for n in range(200)
    ]
    Run.objects.bulk_create(made)
    for number, run in enumerate(made):
        approval.pk, approval.digest, approval.run = new_id(), f"{number:064d}", run.pk
        approval.save(force_insert=True)


def test_a_list_takes_few_queries_however_long_it_is(
    house: House, django_assert_max_num_queries: Any
) -> None:
    _many(house)
    house.alice.sign_in()
    for path, most in LISTS.items():
        with django_assert_max_num_queries(most):
            house.alice.words(path)


def test_a_long_list_is_cut_into_pages(house: House) -> None:
    _many(house)
    first = house.bob.words("/approvals")
    assert first.count("data-row=") == 50
    assert "?page=2" in first
    assert house.bob.words("/approvals", {"page": "5"}).count("data-row=") == 1
    assert house.bob.words("/approvals", {"page": "-1"}).count("data-row=") == 50
    assert "Nothing waits" in house.bob.words("/approvals", {"page": "99999999999"})


def test_nul_in_a_filter_finds_nothing_and_breaks_nothing(house: House) -> None:
    for path in (
        "/runs?q=%00",
        "/tools?q=%00",
        "/ledger?text=%00&kind=%00&after=%00",
        "/approvals?show=%00",
    ):
        assert house.alice.get(path).status_code == 200


@pytest.mark.parametrize(
    ("micros", "shown"), [(0, "$0.00"), (1_500_000, "$1.50"), (20, "$0.00002"), (None, "$0.00")]
)
def test_money_is_shown_with_as_many_decimals_as_it_needs(micros: int | None, shown: str) -> None:
    assert filters.money(micros) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.042, "42 ms"), (4.2, "4.20 s"), (75, "1 min 15 s"), (7500, "2 h 5 min")],
)
def test_durations_are_shown_in_their_largest_units(seconds: float, shown: str) -> None:
    assert filters.lasted(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("name", "value", "text", "found"),
    [
        ("order", "1042", "order 1042, please", True),
        ("order", "1042", "order 10423", False),
        ("count", 90, "90.50", False),
        ("count", 90, "90.", True),
        ("amount_cents", 37_470, "refund 374.70 EUR", True),
        ("amount_cents", 189_000, "refund 1,890.00", True),
        ("amount_cents", 189_000, "refund 1890.00", True),
        ("amount_cents", 9_000, "order 9000 of 1990", True),
        ("amount_cents", 5_000, "refund 150.00", False),
        ("flag", True, "true", True),
    ],
)
def test_a_value_is_seen_where_it_stands_as_a_whole(
    name: str, value: Any, text: str, found: bool
) -> None:
    evidence = [{"kind": "task", "title": "The task", "text": text}]
    (argument,) = sentences.arguments({name: value}, {}, evidence)
    assert bool(argument.seen_in) is found
