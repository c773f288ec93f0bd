"""Lists come in pages that a cursor walks, whatever is added meanwhile."""

from __future__ import annotations

from typing import Any

from builders import Desk
from callers import Caller
from cast import Cast

from runtime import agents

PEOPLE = ("members", "keys", "agents", "tools", "policies", "runs", "approvals")
THINGS = ("collections", "documents", "ledger/entries", "providers", "endpoints", "routes")


def _walk(caller: Caller, path: str, **query: Any) -> list[list[Any]]:
    pages, answer = [], caller.get(path, {"page_size": 3, **query}).json()
    while True:
        pages.append(answer["results"])
        if answer["next"] is None:
            return pages
        answer = caller.get(answer["next"].partition("localhost")[2]).json()


def test_every_row_is_on_one_page_newest_first(acme: Cast, alice: Caller, now: Any) -> None:
    for number in range(8):
        agents.create(f"agent-{number}", name="X", by=acme.dave, now=now)
    pages = _walk(alice, "agents")
    assert [len(page) for page in pages] == [3, 3, 2]
    slugs = [agent["slug"] for page in pages for agent in page]
    assert slugs == [f"agent-{number}" for number in reversed(range(8))]


def test_a_row_that_comes_meanwhile_moves_nothing(acme: Cast, alice: Caller, now: Any) -> None:
    for number in range(4):
        agents.create(f"agent-{number}", name="X", by=acme.dave, now=now)
    first = alice.get("agents", {"page_size": 2}).json()
    agents.create("latecomer", name="X", by=acme.dave, now=now)
    second = alice.get(first["next"].partition("localhost")[2]).json()
    assert [agent["slug"] for agent in second["results"]] == ["agent-1", "agent-0"]
    back = alice.get(second["previous"].partition("localhost")[2]).json()
    assert back["results"] == first["results"]


def test_numbered_rows_and_entries_are_walked_too(desk: Desk, alice: Caller) -> None:
    version = {"instructions": "i", "route": "answers"}
    for _ in range(4):
        alice.post("agents/refund-desk/versions", version)
    numbers = [v["number"] for page in _walk(alice, "agents/refund-desk/versions") for v in page]
    assert numbers == [5, 4, 3, 2, 1]
    entries = [e["id"] for page in _walk(alice, "ledger/entries", kind="agent.") for e in page]
    assert len(entries) == len(set(entries)) == 6
    assert entries == sorted(entries, reverse=True)


def test_all_lists_are_paged_alike(alice: Caller) -> None:
    for path in (*PEOPLE, *THINGS):
        answer = alice.get(path, {"page_size": 1}).json()
        assert set(answer) == {"next", "previous", "results"}, path
        assert len(answer["results"]) <= 1
