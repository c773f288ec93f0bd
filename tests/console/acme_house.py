"""The only place that furnishes acme for the console's tests, and names its visitors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from builders import Desk
from cast import PASSWORD, Cast
from visiting import House, Visitor
from world import calls, says

from audit import queries as audit_queries
from retrieval.models import Passage
from tenants import isolation, members
from tenants.keys import issuing


@pytest.fixture
def now() -> datetime:
    """The console reads the clock, so what it meets is of today."""
    return datetime.now(UTC)


def _vera(acme: Cast, now: datetime) -> Visitor:
    """A viewer."""
    membership = members.add(
        "vera@acme.test",
        name="Vera",
        password=PASSWORD,
        roles=["viewer"],
        actor=acme.alice.actor,
        now=now,
    )
    return Visitor(acme.tenant, members.principal_of(membership.user_id))


@pytest.fixture
def people(acme: Cast, now: datetime) -> dict[str, Visitor]:
    """A visitor for each role of acme."""
    named = {
        name: Visitor(acme.tenant, getattr(acme, name))
        for name in ("alice", "bob", "carol", "dave")
    }
    return {**named, "vera": _vera(acme, now)}


@pytest.fixture
def mallory(globex: Cast) -> Visitor:
    """The admin of globex, signed in there."""
    with isolation.acting_for(globex.tenant):
        return Visitor(globex.tenant, globex.mallory)


@pytest.fixture
def house(stocked_desk: Desk, people: dict[str, Visitor], now: datetime) -> House:
    """acme with a held refund, an answered question, a document and a key."""
    desk = stocked_desk
    question = {"query": "How long may I return electronics?"}
    completed = desk.work(
        desk.ask(
            "How long may I return electronics?",
            calls(("search_handbook", question)),
            says("Electronics have a window of 14 days [P1]."),
        )
    )
    held = desk.work(
        desk.ask(
            "Refund 129.00 of order 1042",
            calls(("look_up_order", {"order_id": "1042"})),
            calls(("search_handbook", {"query": "refund limits"}), first_id="call_2"),
            calls(
                ("refund_order", {"order_id": "1042", "amount_cents": 12_900}), first_id="call_3"
            ),
            says("Done."),
        )
    )
    key, _ = issuing.issue_service_key("Customer app", by=desk.cast.alice, now=now)
    return House(
        desk=desk,
        people=people,
        held=held,
        completed=completed,
        approval=str(held.steps.get(state="held").approval),
        document=str(desk.collection.documents.get().pk),
        passage=str(Passage.objects.order_by("ordinal")[0].pk),
        entry=str(audit_queries.entries(correlation=held.pk)[0].pk),
        member=desk.cast.bob.id,
        key=key.public_id,
    )
