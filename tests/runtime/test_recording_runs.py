from __future__ import annotations

import json
import time
from typing import Any

import pytest
from builders import Desk
from cast import Cast
from workbench import (
    LARGE,
    LOOKING,
    SMALL,
    allow_small_refunds,
    answering,
    approval_of,
    error_told,
    kinds,
    outcomes,
    propose,
    redefine,
    refund,
)
from world import calls, says

from audit import subjects
from audit.queries import entries, private
from gateway import embeddings, requests
from gateway.models import Route
from gateway.providers.protocol import ProviderUnavailable
from governance import grants
from governance.models import Approval
from retrieval.models import Collection
from runtime import leases, queries, runs, sweeping
from runtime.models import Run, RunState
from runtime.queries import AgentUnknown, RunUnknown, ToolUnknown, steps_of
from runtime.runs import TaskInvalid
from tenants import isolation
from tenants.principals import Principal

SEARCH = ("search_handbook", {"query": "How long may I return a kettle, asks Jane Doe?"})


def _story(desk: Desk) -> Any:
    allow_small_refunds(desk)
    return propose(
        desk, SEARCH, LOOKING, ("refund_order", {}), refund(SMALL), ("refund_jane", {"a": "Jane"})
    )


def test_every_effect_is_decided_before_it_begins_and_begins_before_it_ends(
    stocked_desk: Desk,
) -> None:
    run = _story(stocked_desk)
    assert run.state == RunState.COMPLETED
    seen: dict[str, list[str]] = {}
    for entry in entries(correlation=run.pk).reverse():
        if entry.kind.startswith(("intent.decided", "effect.")):
            seen.setdefault(entry.event["intent"], []).append(entry.kind)
    assert len(seen) == 6, "two model calls, a search, its embedding, and two tools"
    assert all(
        found == ["intent.decided", "effect.begun", "effect.ended"] for found in seen.values()
    ), seen


def test_every_step_has_its_entries(stocked_desk: Desk) -> None:
    run = _story(stocked_desk)
    recorded = {entry.event.get("step") for entry in entries(correlation=run.pk)}
    assert {step.number for step in steps_of(run)} <= recorded
    assert kinds(run).count("intent.refused") == 2
    actors = {entry.actor_id for entry in entries(correlation=run.pk)}
    assert actors == {"refund-desk", stocked_desk.cast.robo.id}


def test_an_embedding_lies_between_the_beginning_and_the_end_of_its_search(
    stocked_desk: Desk,
) -> None:
    run = propose(stocked_desk, SEARCH)
    second = [
        (entry.kind, entry.event.get("action"))
        for entry in entries(correlation=run.pk).reverse()
        if entry.event.get("step") == 2
    ]
    assert second == [
        ("intent.decided", "search_collection"),
        ("effect.begun", "search_collection"),
        ("intent.decided", "call_model"),
        ("effect.begun", "call_model"),
        ("effect.ended", "call_model"),
        ("effect.ended", "search_collection"),
    ]
    assert "model.called" in kinds(run)


def test_what_embedding_took_counts_for_the_run(stocked_desk: Desk) -> None:
    run = propose(stocked_desk, SEARCH)
    search = steps_of(run)[1]
    assert search.usage["tokens"] > 0
    assert run.tokens == 30 + search.usage["tokens"]


def test_an_embedding_that_fails_is_recorded_and_the_model_told(
    stocked_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ProviderUnavailable(endpoint="wordllama", reason="it is down")

    monkeypatch.setattr(embeddings, "embed", fail)
    run = propose(stocked_desk, SEARCH)
    assert outcomes(run)[1] == ("failed", "provider_unavailable")
    assert kinds(run).count("effect.failed") == 2
    assert error_told(stocked_desk)["code"] == "provider_unavailable"


def test_an_agent_without_the_embedding_route_finds_nothing(stocked_desk: Desk) -> None:
    route = Route.objects.get(slug="embed")
    grants.revoke("refund-desk", route, by=stocked_desk.cast.alice)
    run = propose(stocked_desk, SEARCH)
    assert outcomes(run)[1] == ("failed", "embedding_denied")
    assert run.state == RunState.COMPLETED


def test_an_agent_without_the_collection_finds_nothing(stocked_desk: Desk) -> None:
    handbook = Collection.objects.get(slug="handbook")
    grants.revoke("refund-desk", handbook, by=stocked_desk.cast.alice)
    run = propose(stocked_desk, SEARCH)
    assert outcomes(run)[1] == ("denied", "not_granted")


def test_nothing_personal_or_secret_is_in_any_entry_of_a_run(stocked_desk: Desk) -> None:
    desk = stocked_desk
    allow_small_refunds(desk)
    desk.world.tool_reply = answering({"message": "Jane Doe is unknown"}, 404)
    private = ("refund_order", {"order_id": "Jane Doe 4711", "amount_cents": LARGE})
    small = ("refund_order", {"order_id": "Jane Doe 4711", "amount_cents": SMALL})
    script = calls(SEARCH, small, private, ("jane_doe", {})), says("Dear Jane Doe, no.")
    run = desk.work(desk.ask("Jane Doe wants her money back.", *script))
    runs.settle_approval(approval_of(run), verdict="approve", by=desk.cast.bob, now=desk.now)
    desk.work(run)
    assert run.state == RunState.COMPLETED
    for entry in entries(correlation=run.pk):
        shown = json.dumps(entry.event).lower()
        for word in ("jane", "4711", "kettle", "money back", 'unknown"', "30 days"):
            assert word not in shown, (entry.kind, word)


@pytest.mark.parametrize("task", ["", "  \n", "x" * 100_001, "a\0b", "half \ud800"])
def test_a_task_that_is_none_is_refused(desk: Desk, task: str) -> None:
    before = entries(kind="run.started").count()
    with pytest.raises(TaskInvalid):
        desk.ask(task, says("never said"))
    assert entries(kind="run.started").count() == before


@pytest.mark.parametrize("name", ["", "two\nlines", "\0", "x" * 201, "ü" * 101, "\ud800"])
def test_a_run_is_on_behalf_of_a_name_or_of_nobody(desk: Desk, name: str) -> None:
    with pytest.raises(TaskInvalid):
        runs.start("?", agent=desk.agent, principal=desk.cast.robo, now=desk.now, on_behalf_of=name)


def test_on_whose_behalf_a_run_acts_is_in_its_entries(desk: Desk) -> None:
    desk.world.script[:] = [says("Yes.")]
    run = runs.start(
        "?", agent=desk.agent, principal=desk.cast.robo, now=desk.now, on_behalf_of="customer-7"
    )
    desk.work(run)
    by_agent = [e for e in entries(correlation=run.pk) if e.actor_kind == "agent"]
    pseudonym = str(subjects.of("person:customer-7").id)
    assert {e.on_behalf_of for e in by_agent} == {pseudonym}


@pytest.mark.parametrize("spelled", ["address", "ADDRESS", " address ", "id", "ID"])
def test_a_member_on_whose_behalf_a_run_acts_is_kept_by_id(desk: Desk, spelled: str) -> None:
    bob = desk.cast.bob
    name = {
        "address": "bob@acme.test",
        "ADDRESS": "Bob@ACME.Test",
        " address ": " bob@acme.test ",
        "id": bob.id,
        "ID": bob.id.replace("-", "").upper(),
    }[spelled]
    robo, now = desk.cast.robo, desk.now
    run = runs.start("?", agent=desk.agent, principal=robo, now=now, on_behalf_of=name)
    assert run.on_behalf_of == bob.id


@pytest.mark.parametrize("name", ["mallory@globex.test", "bob@acme.test.example", "Bob"])
def test_a_name_that_is_no_members_is_kept_as_it_is(desk: Desk, globex: Cast, name: str) -> None:
    robo, now = desk.cast.robo, desk.now
    run = runs.start("?", agent=desk.agent, principal=robo, now=now, on_behalf_of=name)
    assert run.on_behalf_of == name


def test_globex_can_neither_see_nor_work_on_acmes_run_with_its_id(desk: Desk, globex: Cast) -> None:
    run = desk.ask("?", says("Yes."))
    mallory = globex.mallory
    with isolation.acting_for(globex.tenant):
        assert not runs.take_step(run.pk, holder="worker", now=desk.later(hours=1))
        assert leases.take(run.pk, holder="worker", now=desk.later(hours=1)) is None
        assert sweeping.forgotten_runs(desk.later(hours=1)) == []
        for look, wanted, problem in (
            (queries.access_run, run.pk, RunUnknown),
            (queries.access_agent, "refund-desk", AgentUnknown),
            (queries.access_tool, "refund_order", ToolUnknown),
        ):
            with pytest.raises(problem):
                look(wanted, principal=mallory)
        with pytest.raises(leases.LeaseLost):
            leases.keep(run, until=desk.later(hours=1))
        assert not list(entries(correlation=run.pk))
        assert not Approval.objects.exists()
        with pytest.raises(Run.DoesNotExist):
            runs.cancel(run, by=mallory, now=desk.now)
    assert desk.work(run).state == RunState.COMPLETED


def test_another_key_of_acme_does_not_see_robos_run_and_a_member_does(desk: Desk) -> None:
    run = desk.ask("?", says("Yes."))
    other = Principal(kind="client_app", id="1" * 16, name="Other", tenant="acme")
    with pytest.raises(RunUnknown):
        queries.access_run(run.pk, principal=other)
    assert queries.access_run(run.pk, principal=desk.cast.robo) == run
    assert queries.access_run(run.pk, principal=desk.cast.carol) == run


@pytest.mark.parametrize(
    ("headers", "reference"),
    [
        ({"Location": "/refunds/17", "X-Request-Id": "r-1"}, "location: /refunds/17"),
        ({"X-Request-Id": "r-1"}, "x-request-id: r-1"),
        ({"Request-Id": "r-1"}, "request-id: r-1"),
        ({"X-Request-Id": "r" * 201}, None),
        ({"X-Request-Id": "caf\xe9"}, None),
        ({}, None),
    ],
)
def test_what_a_tool_calls_what_it_did_is_kept_as_a_private_part(
    desk: Desk, headers: dict[str, str], reference: str | None
) -> None:
    allow_small_refunds(desk)
    desk.world.tool_reply = answering({"done": True}, **headers)
    run = propose(desk, refund(SMALL))
    (ended,) = (
        entry
        for entry in entries(kind="effect.ended", correlation=run.pk)
        if entry.event["action"] == "use_tool"
    )
    kept = private(ended).get("reference")
    assert (kept["value"] if kept else None) == reference
    assert (ended.event["reference"] is None) == (reference is None)
    assert "refunds/17" not in str(ended.event)


def test_a_secret_that_a_tool_sends_back_as_its_reference_is_not_kept(desk: Desk) -> None:
    allow_small_refunds(desk)
    redefine(desk, "refund_order", headers={"Authorization": "Bearer very-secret"})
    desk.world.tool_reply = answering({}, Location="/refunds?key=very-secret")
    run = propose(desk, refund(SMALL))
    kept = [private(entry) for entry in entries(kind="effect.ended", correlation=run.pk)]
    assert "very-secret" not in str(kept)


def test_an_effect_tells_how_long_it_took(desk: Desk) -> None:
    def dawdle(request: Any) -> bool:
        time.sleep(0.2)
        return answering({"message": "no"}, 422)(request)

    desk.world.tool_reply = dawdle
    run = propose(desk, LOOKING)
    failed = entries(kind="effect.failed", correlation=run.pk).get()
    assert failed.event["latency_ms"] >= 200
    for entry in entries(kind="effect.ended", correlation=run.pk):
        assert isinstance(entry.event["latency_ms"], int)


def test_a_model_call_tells_its_instructions_version_and_commits_to_what_was_said(
    desk: Desk,
) -> None:
    run = propose(desk, LOOKING)
    called = list(entries(kind="model.called", correlation=run.pk).reverse())
    assert [entry.event["prompt_version"] for entry in called] == ["1", "1"]
    said = [body["messages"] for body in desk.world.asked]
    values = [private(entry)["prompt"]["value"] for entry in called]
    assert values == [requests.digest(messages) for messages in said]
    assert values[0] not in str(called[0].event)
    assert called[0].event["prompt"] != called[1].event["prompt"]


def test_a_model_that_does_not_answer_leaves_what_it_was_asked_and_for_how_long(
    desk: Desk,
) -> None:
    desk.world.script[:] = [{"choices": []}]
    run = desk.work(runs.start("Hi", agent=desk.agent, principal=desk.cast.robo, now=desk.now))
    failed = entries(kind="model.failed", correlation=run.pk).get()
    assert (failed.event["prompt_version"], type(failed.event["latency_ms"])) == ("1", int)
    assert private(failed)["prompt"]["value"] == requests.digest(desk.world.asked[-1]["messages"])
