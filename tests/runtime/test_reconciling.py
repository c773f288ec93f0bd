"""The only place that tests that rows without entries, and entries without rows, are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from builders import Desk, after, stock_up
from cast import Cast
from django.db import connection, transaction
from guardian.shortcuts import assign_perm
from stage import SETS, Stage
from workbench import LARGE, LOOKING, SMALL, allow_small_refunds, approval_of, propose, refund
from world import calls

from audit import queries, reconciling, unsettled
from audit.events import SYSTEM
from audit.ids import new_id
from audit.ledger import record
from gateway.models import Endpoint, Provider, Route
from governance.models import Approval, PolicySet, State, Vote
from retrieval import collections, documents
from retrieval.models import Collection, Document, Passage, Posting
from runtime import reconciling as runtime_reconciling
from runtime import runs, tasks, toolbox
from runtime.models import Agent, AgentVersion, Run, RunState, Step, Tool
from tenants import isolation, members
from tenants.events import MemberSignedIn
from tenants.keys import issuing
from tenants.keys.models import Key
from tenants.models import Membership

Differences = set[tuple[str, str, str]]


def _differences(*names: str) -> Differences:
    """What differs now, in all pairs or in these: what other tests committed may differ, too."""
    found: Differences = set()
    for pair in runtime_reconciling.PAIRS:
        if names and pair.name not in names:
            continue
        compared = reconciling.compare(pair)
        found |= {(pair.name, "row", key) for key in compared.row_keys}
        found |= {(pair.name, "entry", key) for key in compared.entry_keys}
    return found


def _make_busy(desk: Desk) -> None:
    """Everything happens once: approvals of every kind, keys, removals, a member."""
    alice = desk.cast.alice
    allow_small_refunds(desk)
    propose(desk, refund(SMALL))
    propose(desk, LOOKING)
    for verdict in ("approve", "reject", None):
        run = propose(desk, refund(LARGE))
        if verdict is None:
            runs.cancel(run, by=alice, now=desk.now)
            continue
        runs.settle_approval(
            approval_of(run), verdict=verdict, by=desk.cast.bob, now=desk.now, reason="So."
        )
        desk.work(run)
    desk.work(desk.ask("Please.", *[calls(("no_such_tool", {}))] * 30))
    propose(desk, refund(LARGE + 1))
    runs.expire_approvals(desk.later(days=2))
    _change_who_enters(desk)
    _remove_things(desk)


def _change_who_enters(desk: Desk) -> None:
    """Two keys are issued, one of which is revoked; a member comes and gets another role."""
    alice, now = desk.cast.alice, desk.now
    issuing.issue_service_key("kept", by=alice, now=now)
    revoked, _ = issuing.issue_service_key("revoked", by=alice, now=now)
    issuing.revoke(revoked.public_id, by=alice, now=now)
    added = members.add(
        "erin@acme.test",
        name="Erin",
        password="a long enough passphrase",
        roles=["viewer"],
        actor=alice.actor,
        now=now,
    )
    members.set_roles(added.user_id, ["viewer", "reviewer"], by=alice)


def _remove_things(desk: Desk) -> None:
    """A collection with a document, a document, and a tool, each removed in the proper way."""
    alice, now = desk.cast.alice, desk.now
    gone = collections.create("gone", name="Gone", embedding_route="embed", by=alice, now=now)
    documents.upload(gone, "a.md", b"# One", by=alice, now=now)
    collections.remove(gone, by=alice)
    other = documents.upload(desk.collection, "b.md", b"# Two", by=alice, now=now)
    documents.remove(other, by=alice)
    spare = toolbox.Definition(
        slug="spare",
        description="Spare.",
        method="GET",
        url=f"{desk.world.address}/spare",
        parameters={"type": "object", "properties": {}},
        effect="read",
    )
    toolbox.remove(toolbox.add(spare, by=desk.cast.dave, now=now), by=desk.cast.dave, now=now)


def _busy_desk(request: pytest.FixtureRequest) -> Differences:
    """What differed before anything happened, which has happened since."""
    before: Differences = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconciling, "MOST_NAMED", 10_000)
        after(request, lambda _: before.update(_differences()), stock_up, _make_busy)
    return before


SETS["busy"] = _busy_desk


@pytest.fixture
def busy(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk where everything happened once."""
    monkeypatch.setattr(reconciling, "MOST_NAMED", 10_000)
    return desk


def test_what_happened_in_the_proper_way_differs_in_nothing(busy: Desk, stage: Stage):
    assert _differences() - stage.value == set()
    assert {pair.name for pair in runtime_reconciling.PAIRS} >= {"runs", "documents", "members"}


def _without_its_bytes(document: Document) -> None:
    own = Passage.objects.filter(document=document)
    Posting.objects.filter(passage__in=own).delete()
    own.delete()
    Document.objects.filter(pk=document.pk).delete()


def _copy(row: Any, **columns: Any) -> str:
    """A row that nobody recorded, like another."""
    row.pk = new_id()
    for name, value in columns.items():
        setattr(row, name, value)
    row.save(force_insert=True)
    return str(row.pk)


def _as_owner(change: Callable[[], object]) -> None:
    """What a tenant's role may not do, a hand in the database may."""
    with isolation.outside_tenants():
        change()


BREAKS: dict[str, tuple[str, str, Callable[[Desk], object]]] = {
    "a member made an admin": (
        "members",
        "row",
        lambda desk: _as_owner(
            lambda: Membership.objects.filter(user__email="erin@acme.test").update(roles=["admin"])
        ),
    ),
    "a member removed": (
        "members",
        "entry",
        lambda desk: _as_owner(
            lambda: Membership.objects.filter(user__email="erin@acme.test").delete()
        ),
    ),
    "a key made": ("keys", "row", lambda desk: _copy(Key.objects.get(name="kept"), public_id="e")),
    "a key deleted": ("keys", "entry", lambda desk: Key.objects.filter(name="kept").delete()),
    "a key revoked": (
        "revoked keys",
        "row",
        lambda desk: Key.objects.filter(name="kept").update(revoked_at=desk.now),
    ),
    "a key that works again": (
        "revoked keys",
        "entry",
        lambda desk: Key.objects.filter(name="revoked").update(revoked_at=None),
    ),
    "policies of a hand": (
        "policies",
        "row",
        lambda desk: _copy(PolicySet.objects.all()[0], version=99, active=False),
    ),
    "policies deleted": ("policies", "entry", lambda desk: PolicySet.objects.all()[0].delete()),
    "an approval made": (
        "approvals",
        "row",
        lambda desk: _copy(Approval.objects.filter(state=State.SPENT)[0], digest="f" * 64),
    ),
    "an approval deleted": (
        "approvals",
        "entry",
        lambda desk: Approval.objects.filter(state=State.CANCELLED)[0].delete(),
    ),
    "a vote for, made": (
        "votes for",
        "row",
        lambda desk: _copy(
            Vote.objects.filter(verdict="approve")[0],
            approval=Approval.objects.filter(state=State.EXPIRED)[0],
        ),
    ),
    "a vote for, turned": (
        "votes for",
        "entry",
        lambda desk: Vote.objects.filter(verdict="approve").update(verdict="reject"),
    ),
    "a vote against, made": (
        "votes against",
        "row",
        lambda desk: Vote.objects.filter(verdict="approve").update(verdict="reject"),
    ),
    "a vote against, deleted": (
        "votes against",
        "entry",
        lambda desk: Vote.objects.filter(verdict="reject").delete(),
    ),
    "rejected by a hand": (
        "rejected approvals",
        "row",
        lambda desk: Approval.objects.filter(state=State.SPENT).update(state=State.REJECTED),
    ),
    "no longer rejected": (
        "rejected approvals",
        "entry",
        lambda desk: Approval.objects.filter(state=State.REJECTED).update(state=State.EXPIRED),
    ),
    "spent by a hand": (
        "spent approvals",
        "row",
        lambda desk: Approval.objects.filter(state=State.REJECTED).update(state=State.SPENT),
    ),
    "to be spent again": (
        "spent approvals",
        "entry",
        lambda desk: Approval.objects.filter(state=State.SPENT).update(state=State.APPROVED),
    ),
    "expired by a hand": (
        "expired approvals",
        "row",
        lambda desk: Approval.objects.filter(state=State.SPENT).update(state=State.EXPIRED),
    ),
    "no longer expired": (
        "expired approvals",
        "entry",
        lambda desk: Approval.objects.filter(state=State.EXPIRED).update(state=State.PENDING),
    ),
    "cancelled by a hand": (
        "cancelled approvals",
        "row",
        lambda desk: Approval.objects.filter(state=State.SPENT).update(state=State.CANCELLED),
    ),
    "no longer cancelled": (
        "cancelled approvals",
        "entry",
        lambda desk: Approval.objects.filter(state=State.CANCELLED).update(state=State.PENDING),
    ),
    "a collection made": (
        "collections",
        "row",
        lambda desk: _copy(Collection.objects.get(slug="handbook"), slug="another"),
    ),
    "a document made": (
        "documents",
        "row",
        lambda desk: _copy(Document.objects.all()[0], sha256="f" * 64),
    ),
    "a document deleted": (
        "documents",
        "entry",
        lambda desk: _without_its_bytes(Document.objects.all()[0]),
    ),
    "an agent made": ("agents", "row", lambda desk: _copy(Agent.objects.all()[0], slug="other")),
    "an agent's version made": (
        "agent versions",
        "row",
        lambda desk: _copy(AgentVersion.objects.all()[0], number=77),
    ),
    "a tool led elsewhere": (
        "tools",
        "row",
        lambda desk: Tool.objects.filter(slug="refund_order").update(url="https://evil.test/"),
    ),
    "a tool deleted": (
        "tools",
        "entry",
        lambda desk: Tool.objects.filter(slug="look_up_order").delete(),
    ),
    "a grant given": (
        "grants",
        "row",
        lambda desk: _grant_by_hand(),
    ),
    "a collection deleted": (
        "collections",
        "entry",
        lambda desk: Collection.objects.filter(slug="handbook").update(slug="renamed"),
    ),
    "an agent renamed": ("agents", "entry", lambda desk: Agent.objects.update(slug="renamed")),
    "an agent's version renamed": (
        "agent versions",
        "entry",
        lambda desk: Agent.objects.update(slug="renamed"),
    ),
    "a provider made": (
        "providers",
        "row",
        lambda desk: _copy(Provider.objects.all()[0], slug="made"),
    ),
    "a provider renamed": (
        "providers",
        "entry",
        lambda desk: Provider.objects.filter(slug="scripted").update(slug="renamed"),
    ),
    "an endpoint made": (
        "endpoints",
        "row",
        lambda desk: _copy(Endpoint.objects.all()[0], slug="made"),
    ),
    "an endpoint renamed": (
        "endpoints",
        "entry",
        lambda desk: Endpoint.objects.filter(slug="wordllama").update(slug="renamed"),
    ),
    "a route made": ("routes", "row", lambda desk: _copy(Route.objects.all()[0], slug="made")),
    "a route renamed": (
        "routes",
        "entry",
        lambda desk: Route.objects.filter(slug="answers").update(slug="renamed"),
    ),
    "no longer failed": (
        "failed runs",
        "entry",
        lambda desk: Run.objects.filter(state="failed").update(state="active"),
    ),
    "a run made": ("runs", "row", lambda desk: _copy(Run.objects.all()[0])),
    "a run deleted": ("runs", "entry", lambda desk: Run.objects.all()[0].delete()),
    "completed by a hand": (
        "completed runs",
        "row",
        lambda desk: Run.objects.filter(state="cancelled").update(state="completed"),
    ),
    "no longer completed": (
        "completed runs",
        "entry",
        lambda desk: Run.objects.filter(state="completed").update(state="active"),
    ),
    "failed by a hand": (
        "failed runs",
        "row",
        lambda desk: Run.objects.filter(state="cancelled").update(state="failed"),
    ),
    "cancelled by a hand, a run": (
        "cancelled runs",
        "row",
        lambda desk: Run.objects.filter(state="completed").update(state="cancelled"),
    ),
    "no longer cancelled, a run": (
        "cancelled runs",
        "entry",
        lambda desk: Run.objects.filter(state="cancelled").update(state="active"),
    ),
    "a step made": (
        "begun steps",
        "row",
        lambda desk: _copy(Step.objects.filter(attempts=1)[0], number=99),
    ),
    "a step deleted": (
        "begun steps",
        "entry",
        lambda desk: Step.objects.filter(action="use_tool", attempts=1).delete(),
    ),
    "a step ended by a hand": (
        "ended steps",
        "row",
        lambda desk: Step.objects.filter(action="use_tool", attempts=1).update(decision=new_id()),
    ),
    "a step ended without a decision": (
        "ended steps",
        "row",
        lambda desk: Step.objects.filter(action="use_tool", attempts=1).update(decision=None),
    ),
}


def _grant_by_hand() -> None:
    from django.contrib.auth.models import Group

    Agent.objects.create(slug="sneaky", name="S", author=new_id(), created_at="2026-03-02T12:00Z")
    group = Group.objects.create(name="agent:sneaky")
    assign_perm("invoke", group, Tool.objects.get(slug="refund_order"))


def _found_after(change: Callable[[Desk], object], desk: Desk, name: str) -> set[str]:
    """The sides of the pair that differ once that was done, which is then undone."""
    before = _differences(name)
    with transaction.atomic():
        change(desk)
        found = _differences(name) - before
        transaction.set_rollback(True)
    return {side for _, side, _ in found}


def test_what_a_hand_in_the_database_did_is_found(busy: Desk):
    """One desk for all: furnishing it takes longer than the comparing."""
    missed = {}
    for case, (name, side, change) in BREAKS.items():
        found = _found_after(change, busy, name)
        if side not in found:
            missed[case] = found
    assert missed == {}


def test_each_pair_was_broken_on_both_sides():
    """Once both ways, where it is compared both ways; what has no row to lose is named here."""
    broken = {(name, side) for name, side, _ in BREAKS.values()}
    wanted = {(pair.name, "row") for pair in runtime_reconciling.PAIRS}
    wanted |= {(pair.name, "entry") for pair in runtime_reconciling.PAIRS if pair.both_ways}
    assert wanted - broken == set()


def test_the_result_is_recorded_with_what_differs(busy: Desk, caplog: pytest.LogCaptureFixture):
    completed = Run.objects.filter(state=RunState.COMPLETED)
    reverted = {str(pk) for pk in completed.values_list("pk", flat=True)}
    completed.update(state=RunState.ACTIVE)
    entry = queries.access_entry(runtime_reconciling.reconcile(busy.now))
    assert (entry.kind, entry.actor_kind) == ("ledger.reconciled", "system")
    named = {each.get("entry") for each in entry.event["differences"]}
    assert reverted & named
    assert entry.event["differing"] >= len(reverted)
    assert entry.event["compared"]["runs"] == Run.objects.count()
    assert f"the entry {entry.pk} names them" in caplog.text


def test_what_never_ended_is_told_first(busy: Desk, monkeypatch: pytest.MonkeyPatch):
    told: list[int] = [runtime_reconciling.unsettled.MOST, 0]
    monkeypatch.setattr(runtime_reconciling.unsettled, "tell", lambda _: told.pop(0))
    runtime_reconciling.reconcile(busy.now)
    assert told == []
    assert unsettled._first_id().int > 0, "the next look begins near this one"


def test_an_entry_names_a_hundred_differences_at_most(busy: Desk):
    for number in range(130):
        _copy(Agent.objects.all()[0], slug=f"made-{number}")
    event = queries.access_entry(runtime_reconciling.reconcile(busy.now)).event
    assert event["differing"] >= 130
    assert len(event["differences"]) == runtime_reconciling.MOST_NAMED


def test_a_forged_entry_that_postgresql_can_not_take_apart_stops_nothing(busy: Desk):
    record(MemberSignedIn(member="\0", way="\0"), actor=SYSTEM)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    pair = reconciling.Pair(name="zero", rows=list, begin=("member.signed_in",), by=("member",))
    assert "\0" not in "".join(reconciling.compare(pair).entry_keys)


def test_the_next_night_is_quiet_again_once_it_was_put_right(busy: Desk):
    before = queries.access_entry(runtime_reconciling.reconcile(busy.now)).event["differing"]
    made = _copy(Agent.objects.all()[0], slug="made")
    during = queries.access_entry(runtime_reconciling.reconcile(busy.now)).event["differing"]
    Agent.objects.filter(pk=made).delete()
    after = queries.access_entry(runtime_reconciling.reconcile(busy.now)).event["differing"]
    assert (during, after) == (before + 1, before)


def test_every_tenant_is_reconciled_by_the_schedule(acme: Cast, globex: Cast):
    from countersign.settings import CELERY_BEAT_SCHEDULE

    assert tasks.reconcile.name in {each["task"] for each in CELERY_BEAT_SCHEDULE.values()}
    tasks.reconcile()
    for cast in (acme, globex):
        with isolation.acting_for(cast.tenant):
            assert queries.entries(kind="ledger.reconciled").exists()
