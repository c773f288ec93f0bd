"""The only place that furnishes acme for the console's tests, and names its visitors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property

import pytest
from builders import Desk, after, stock, stock_up
from cast import Cast
from stage import SETS
from visiting import Visitor
from world import calls, says

from audit import queries as audit_queries
from audit.selections import EVERYTHING
from governance.models import Approval
from retrieval.models import Document, Passage
from runtime import erasing, exports, holding, runs, saved_views, streams
from runtime.models import Run, RunState
from tenants import isolation, members
from tenants.keys import issuing
from tenants.models import Membership, User
from tenants.principals import Principal

QUESTION = "How long may I return electronics?"
REFUND = "Refund 129.00 of order 1042"
EVERYBODY = ("alice", "bob", "carol", "dave", "vera")


class House:
    """acme and its visitors. What a test looks at and no set has made is made at its first look."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.people = {
            name: Visitor(desk.cast.tenant, getattr(desk.cast, name))
            for name in ("alice", "bob", "carol", "dave")
        }
        self.people["vera"] = Visitor(desk.cast.tenant, _vera(desk))

    def __getattr__(self, name: str) -> Visitor:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None

    @cached_property
    def document(self) -> str:
        """The id of the handbook, which is ready."""
        desk = self.desk
        made = Document.objects.first() or stock(desk.collection, by=desk.cast.alice, now=desk.now)
        assert Document.objects.get(pk=made.pk).state == "ready"
        return str(made.pk)

    @cached_property
    def passage(self) -> str:
        """The id of the handbook's first passage."""
        return str(Passage.objects.filter(document=self.document).order_by("ordinal")[0].pk)

    @cached_property
    def held(self) -> Run:
        """A large refund that waits for a reviewer."""
        assert self.document
        self.desk.world.script[:] = [says("Done.")]
        return Run.objects.filter(state=RunState.HELD).first() or hold_a_refund(self.desk)

    @cached_property
    def approved(self) -> Run:
        """A large refund that Bob approved, and that was made."""
        assert self.document
        return _completed(REFUND) or approve_a_refund(self.desk)

    @cached_property
    def completed(self) -> Run:
        """A question that was answered from the handbook."""
        assert self.document
        return _completed(QUESTION) or answer_a_question(self.desk)

    @cached_property
    def approval(self) -> str:
        """The id of the approval that the held refund waits for."""
        return str(self.held.steps.get(state="held").approval)

    @cached_property
    def entry(self) -> str:
        """The id of the newest entry of the held refund."""
        return str(audit_queries.entries(correlation=self.held.pk)[0].pk)

    @cached_property
    def decision(self) -> str:
        """The id of the entry that says that the large refund was held."""
        rows = audit_queries.entries(correlation=self.held.pk, kind="intent.decided")
        return str(rows[0].pk)

    @cached_property
    def erasure(self) -> str:
        """The id of Alice's request to erase Jonas."""
        made = erasing.request(
            "Jonas", legal_basis="A law", by=self.desk.cast.alice, now=self.desk.now
        )
        return str(made.pk)

    @cached_property
    def hold(self) -> str:
        """The id of a legal hold on Judith."""
        return str(holding.place("Judith", reason="A case", by=self.desk.cast.carol).pk)

    @cached_property
    def stream(self) -> str:
        """The slug of a webhook that gets acme's ledger."""
        made, _ = streams.create(
            "acme-siem",
            kind="webhook",
            address="https://siem.acme.test/in",
            by=self.desk.cast.alice,
            now=self.desk.now,
        )
        return made.slug

    @cached_property
    def export(self) -> str:
        """The id of an export that Carol asked for, and no worker has made."""
        asked = exports.ask(
            EVERYTHING, with_bodies=True, by=self.desk.cast.carol, now=self.desk.now
        )
        return str(asked.pk)

    @cached_property
    def view(self) -> str:
        """The id of a view of the ledger that Carol shares."""
        filters = {"kind": "intent.decided", "within": "24h"}
        carol, now = self.desk.cast.carol, self.desk.now
        return str(saved_views.save("Decisions", filters, shared=True, by=carol, now=now).pk)

    @cached_property
    def key(self) -> str:
        """The public id of a service key."""
        made, _ = issuing.issue_service_key(
            "Customer app", by=self.desk.cast.alice, now=self.desk.now
        )
        return made.public_id

    @property
    def member(self) -> str:
        """Bob's user id."""
        return self.desk.cast.bob.id


def _completed(task: str) -> Run | None:
    return Run.objects.filter(state=RunState.COMPLETED, task=task).first()


def answer_a_question(desk: Desk) -> Run:
    """A question that was answered from the handbook."""
    asked = desk.ask(
        QUESTION,
        calls(("search_handbook", {"query": QUESTION})),
        says("Electronics have a window of 14 days [P1]."),
    )
    return desk.work(asked)


def hold_a_refund(desk: Desk) -> Run:
    """A large refund that waits for a reviewer; its collection has the handbook."""
    asked = desk.ask(
        REFUND,
        calls(("look_up_order", {"order_id": "1042"})),
        calls(("search_handbook", {"query": "refund limits"}), first_id="call_2"),
        calls(("refund_order", {"order_id": "1042", "amount_cents": 12_900}), first_id="call_3"),
        says("Done."),
    )
    return desk.work(asked)


def approve_a_refund(desk: Desk) -> Run:
    """A large refund that Bob approved, and that was made."""
    held = hold_a_refund(desk)
    approval = Approval.objects.get(run=held.pk)
    why = "Within the limits."
    runs.settle_approval(approval, verdict="approve", reason=why, by=desk.cast.bob, now=desk.now)
    return desk.work(held)


def _today(request: pytest.FixtureRequest, *acts: Callable[[Desk], Run]) -> None:
    """What acme did today, with the handbook in its collection."""
    after(request, stock_up, *acts, now=datetime.now(UTC))


SETS["handbook_ready"] = _today
SETS["refund_held"] = lambda request: _today(request, hold_a_refund)
SETS["three_runs"] = lambda request: _today(
    request, answer_a_question, approve_a_refund, hold_a_refund
)


@pytest.fixture
def handbook_ready() -> None:
    """The handbook came in today."""


@pytest.fixture
def refund_held() -> None:
    """A large refund waits for a reviewer, who can come any time today."""


@pytest.fixture
def three_runs() -> None:
    """A question was answered, a refund approved and made, and another one waits."""


def _vera(desk: Desk) -> Principal:
    """A viewer, who never types a password."""
    with isolation.outside_tenants():
        tenant = desk.cast.tenant
        user = User.objects.create(tenant=tenant, email="vera@acme.test", name="Vera", password="!")
        Membership.objects.create(user=user, tenant=tenant, roles=["viewer"], created_at=desk.now)
    found = members.principal_of(user.pk)
    assert found is not None
    return found


@pytest.fixture
def now() -> datetime:
    """The console reads the clock, so what it meets is of today."""
    return datetime.now(UTC)


@pytest.fixture
def house(desk: Desk) -> House:
    """acme's refund desk and its visitors; rolled back after the test."""
    return House(desk)


@pytest.fixture
def mallory(globex: Cast) -> Visitor:
    """The admin of globex, signed in there."""
    return Visitor(globex.tenant, globex.mallory)
