"""The only place for the fixtures of the API's tests: who calls, and what acme has."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import Desk, furnish_committed, furnished_desk, stock
from cast import PASSWORD, Cast
from django.test import override_settings
from stage import SETS, Stage
from world import World, calls, says

sys.path.insert(0, str(Path(__file__).parent))

from callers import Caller, Estate, member, service_key

from audit import queries as ledger_queries
from audit.selections import EVERYTHING
from runtime import erasing, exports, holding, streams
from runtime.models import Run
from tenants import isolation, members

REFUNDED = says("Refunded.")


@pytest.fixture
def now() -> datetime:
    """The API reads the clock, so what it meets is of today."""
    return datetime.now(UTC)


@pytest.fixture
def alice(acme: Cast) -> Caller:
    return member(acme.alice)


@pytest.fixture
def bob(acme: Cast) -> Caller:
    return member(acme.bob)


@pytest.fixture
def carol(acme: Cast) -> Caller:
    return member(acme.carol)


@pytest.fixture
def dave(acme: Cast) -> Caller:
    return member(acme.dave)


@pytest.fixture
def victor(acme: Cast, now: datetime) -> Caller:
    """A viewer."""
    membership = members.add(
        "victor@acme.test",
        name="Victor",
        password=PASSWORD,
        roles=["viewer"],
        actor=acme.alice.actor,
        now=now,
    )
    principal = members.principal_of(membership.user_id)
    assert principal is not None
    return member(principal)


@pytest.fixture
def robo(acme: Cast) -> Caller:
    """The client app that asks for the desk's runs."""
    return service_key("acme", acme.robo.id, acme.alice.id)


@pytest.fixture
def other_app(acme: Cast) -> Caller:
    """Another client app of acme."""
    return service_key("acme", "1" * 16, acme.alice.id)


@pytest.fixture
def mallory(globex: Cast) -> Caller:
    with isolation.acting_for(globex.tenant):
        return member(globex.mallory)


def _estate_of_acme(request: pytest.FixtureRequest) -> dict[str, str]:
    """The ids of what acme has today, by the names that Estate has for them."""
    desk = furnished_desk(request, datetime.now(UTC))
    with isolation.acting_for(desk.cast.tenant), override_settings(ALLOW_PRIVATE_ADDRESSES=True):
        document = stock(desk.collection, by=desk.cast.alice, now=desk.now)
        run = desk.ask(
            "Refund order 1042",
            calls(("refund_order", {"order_id": "1042", "amount_cents": 12_900})),
            REFUNDED,
        )
        desk.work(run)
        entry = ledger_queries.entries(correlation=run.pk)[0]
        streams.create(
            "siem",
            kind="webhook",
            address="https://siem.test/",
            by=desk.cast.alice,
            now=desk.now,
        )
        asked = erasing.request("Jonas", legal_basis="A law", by=desk.cast.alice, now=desk.now)
        hold = holding.place("Judith", reason="A case", by=desk.cast.carol)
        export = exports.ask(EVERYTHING, with_bodies=True, by=desk.cast.carol, now=desk.now)
        return {
            "erasure": str(asked.pk),
            "hold": str(hold.pk),
            "document": str(document.pk),
            "approval": str(run.steps.get(state="held").approval),
            "entry": str(entry.pk),
            "export": str(export.pk),
        }


SETS["estate_of_acme"] = _estate_of_acme


@pytest.fixture
def estate_of_acme(stage: Stage) -> dict[str, str]:
    return dict(stage.value)


@pytest.fixture
def estate(desk: Desk, robo: Caller, estate_of_acme: dict[str, str]) -> Estate:
    """acme with a document, a run that is held for an approval, and an export that Carol wants."""
    desk.world.script[:] = [REFUNDED]
    return Estate(desk=desk, run=Run.objects.get(), key=desk.cast.robo.id, **estate_of_acme)


@pytest.fixture
def committed_desk(committed_acme: Cast, world: World) -> Desk:
    """acme's refund desk as other connections see it."""
    return furnish_committed(committed_acme, world, datetime.now(UTC))
