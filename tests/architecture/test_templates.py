"""Every template is rendered by at least one test: this one, which walks through the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test.signals import template_rendered

TESTS = Path(__file__).parents[1]
TEMPLATES = TESTS.parent / "templates"
sys.path.insert(0, str(TESTS / "console"))

from acme_house import House, house, now  # noqa: E402
from own_halts import halt  # noqa: E402
from visiting import Visitor, seal  # noqa: E402

from runtime.models import Run  # noqa: E402

__all__ = ["house", "now"]


@pytest.fixture
def rendered() -> Iterator[set[str]]:
    """The names of the templates that are rendered meanwhile."""
    names: set[str] = set()

    def note(template: Any, **_: Any) -> None:
        names.add(str(template.name))

    template_rendered.connect(note)
    yield names
    template_rendered.disconnect(note)


def _make_many_runs(house: House) -> None:
    """So many that their list has a second page, and a pager."""
    version = house.completed.version
    Run.objects.bulk_create(
        Run(
            version=version,
            task="?",
            requester_kind="member",
            requester="x",
            created_at=house.desk.now,
        )
        for _ in range(60)
    )


def _walk(house: House) -> None:
    """Open every page of the console once, with something on it."""
    alice = house.alice
    Visitor(alice.tenant).get("/sign-in")
    alice.get("/runs/00000000-0000-7000-8000-000000000000")
    for path in (
        "/",
        "/approvals",
        f"/approvals/{house.approval}",
        "/runs",
        f"/runs/{house.held.pk}",
        f"/runs/{house.held.pk}/outcome",
        f"/runs/{house.completed.pk}",
        "/agents",
        "/agents/refund-desk/",
        "/agents/refund-desk/publish",
        "/agents/refund-desk/versions/1",
        "/tools",
        "/tools/refund_order/",
        "/tools/refund_order/change",
        "/tools/refund_order/remove",
        "/documents",
        "/collections/handbook/",
        f"/documents/{house.document}",
        f"/documents/{house.document}/remove",
        "/policies",
        "/policies/1",
        "/policies/edit",
        "/ledger",
        f"/ledger?older={house.entry}",
        "/ledger/views",
        "/ledger/status",
        "/ledger/exports",
        f"/ledger/{house.entry}",
        "/streams",
        f"/ledger/{house.decision}/decision",
        "/erasures",
        "/members",
        f"/members/{house.member}",
        "/keys",
    ):
        assert alice.get(path).status_code == 200, path
    assert alice.get("/nothing/is/here").status_code == 404
    assert alice.get("/ledger?kind=run.&after=never").status_code == 422
    alice.get("/runs?q=nothing+has+these+words")
    alice.post("/collections/handbook/search", {"query": "refunds"})
    alice.post("/ledger/verify")
    alice.get(alice.post("/ledger/exports/begin")["Location"])
    alice.post_once("/keys", "/keys/issue", {"name": "App"})
    alice.post_once(f"/streams/{house.stream}/", f"/streams/{house.stream}/secret")
    alice.get(f"/streams/{house.stream}/")
    alice.get("/streams")
    erin = {"email": "erin@acme.test", "name": "Erin", "roles": ["viewer"]}
    alice.post("/members/add", erin)


def test_every_template_is_rendered(house: House, rendered: set[str]) -> None:
    assert house.entry
    assert house.view
    seal()
    halt()
    _make_many_runs(house)
    _walk(house)
    there = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.html")}
    missing = sorted(there - rendered)
    assert not missing, f"No test renders {', '.join(missing)}. Add its page to _walk."
