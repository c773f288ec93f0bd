"""Runs and approvals through the API, as a client app and a reviewer live through them."""

from __future__ import annotations

from builders import Desk
from callers import Caller, Estate, member
from world import calls, says

from api import streaming
from api.streaming import Seen
from runtime.models import Run


def test_a_client_app_starts_a_run_and_finds_it_at_its_address(desk: Desk, robo: Caller) -> None:
    desk.world.script[:] = [says("For 30 days.")]
    started = robo.post("agents/refund-desk/runs", {"task": "How long?", "on_behalf_of": "eve"})
    assert (started.status_code, started.json()["state"]) == (202, "active")
    desk.work(Run.objects.get(pk=started.json()["id"]))
    shown = robo.get(started["Location"]).json()
    assert (shown["state"], shown["answer"]["text"]) == ("completed", "For 30 days.")
    assert (shown["agent"], shown["version"], shown["on_behalf_of"]) == ("refund-desk", 1, "eve")
    (step,) = robo.get(started["Location"] + "/steps").json()["results"]
    assert (step["action"], step["state"]) == ("call_model", "ended")


def test_a_member_sees_all_runs_and_an_app_its_own(
    estate: Estate, alice: Caller, other_app: Caller, robo: Caller
) -> None:
    other_app.post("agents/refund-desk/runs", {"task": "Mine."})
    assert len(alice.get("runs").json()["results"]) == 2
    assert [r["task"] for r in other_app.get("runs").json()["results"]] == ["Mine."]
    assert len(robo.get("runs", {"state": "held"}).json()["results"]) == 1
    assert robo.get("runs", {"agent": "other"}).json()["results"] == []


def test_those_who_only_read_start_and_cancel_nothing(
    estate: Estate, carol: Caller, victor: Caller
) -> None:
    for caller in (carol, victor):
        answer = caller.post("agents/refund-desk/runs", {"task": "Refund me."})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
        assert caller.post(f"runs/{estate.run.pk}/cancel").status_code == 403
        assert caller.get(f"runs/{estate.run.pk}").status_code == 200


def test_a_run_is_cancelled_once(estate: Estate, robo: Caller) -> None:
    ended = robo.post(f"runs/{estate.run.pk}/cancel")
    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    again = robo.post(f"runs/{estate.run.pk}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "run_over")


def test_an_approval_shows_the_exact_arguments_and_why_it_was_held(
    estate: Estate, bob: Caller
) -> None:
    (listed,) = bob.get("approvals", {"state": "pending"}).json()["results"]
    shown = bob.get(f"approvals/{listed['id']}").json()
    assert shown["arguments"] == {"order_id": "1042", "amount_cents": 12_900}
    assert (shown["resource"], shown["code"]) == ("refund_order", "unattended_not_permitted")
    assert shown["evidence"][0]["text"] == "Refund order 1042"
    assert len(shown["digest"]) == 64
    assert shown["votes"] == []
    assert bob.get("approvals", {"state": "approved"}).json()["results"] == []


def test_a_reviewer_approves_and_the_run_goes_on(estate: Estate, bob: Caller, robo: Caller) -> None:
    assert robo.get(f"runs/{estate.run.pk}").json()["approval"] == estate.approval
    voted = bob.post(f"approvals/{estate.approval}/votes", {"verdict": "approve"})
    assert (voted.status_code, voted.json()["state"]) == (201, "approved")
    assert voted.json()["votes"][0]["member_name"] == "Bob"
    estate.desk.work(estate.run)
    assert robo.get(f"runs/{estate.run.pk}").json()["state"] == "completed"
    assert len(estate.desk.world.refunds) == 1
    again = bob.post(f"approvals/{estate.approval}/votes", {"verdict": "approve"})
    assert (again.status_code, again.json()["code"]) == (409, "already_settled")


def test_a_rejection_needs_a_reason(estate: Estate, bob: Caller) -> None:
    path = f"approvals/{estate.approval}/votes"
    bare = bob.post(path, {"verdict": "reject"})
    assert (bare.status_code, bare.json()["code"]) == (422, "reason_required")
    assert bob.post(path, {"verdict": "reject", "reason": "Too much."}).status_code == 201


def test_neither_the_author_nor_an_app_nor_an_auditor_votes(
    estate: Estate, dave: Caller, robo: Caller, carol: Caller
) -> None:
    path = f"approvals/{estate.approval}/votes"
    answers = [caller.post(path, {"verdict": "approve"}) for caller in (robo, carol)]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "not_permitted")] * 2
    assert dave.post(path, {"verdict": "approve"}).status_code == 404  # a builder sees no approvals


def test_the_author_may_not_vote_even_as_an_admin(estate: Estate, alice: Caller) -> None:
    cast = estate.desk.cast
    alice.patch(f"members/{cast.dave.id}", {"roles": ["admin", "builder"]})
    author = member(cast.dave)
    answer = author.post(f"approvals/{estate.approval}/votes", {"verdict": "approve"})
    assert (answer.status_code, answer.json()["code"]) == (403, "author_cannot_vote")


def test_a_look_tells_what_is_new_since_the_last_one(estate: Estate) -> None:
    tenant, run = estate.desk.cast.tenant, estate.run.pk
    first = streaming.changes(tenant, run, Seen())
    assert [name for _, name, _ in first.events] == ["step", "step", "run"]
    assert str(first.seen) == "2-held-held"
    assert streaming.changes(tenant, run, first.seen).events == []
    resumed = streaming.changes(tenant, run, Seen.parse("1-ended-active"))
    assert [str(seen) for seen, _, _ in resumed.events] == ["2-held-active", "2-held-held"]


def test_an_unintelligible_last_event_id_begins_anew() -> None:
    for text in (None, "", "x", "1", "-1-a-b", "9" * 20 + "-a-b", "1-ended"):
        assert Seen.parse(text) == Seen()


def test_a_watcher_of_a_run_that_it_saw_the_end_of_need_not_come_back(
    desk: Desk, robo: Caller
) -> None:
    desk.work(run := desk.ask("?", says("So.")))
    answer = robo.get(f"runs/{run.pk}/events", last_event_id="1-ended-completed")
    assert answer.status_code == 204


def test_a_rejected_refund_is_told_to_the_model(desk: Desk, bob: Caller) -> None:
    refund = calls(("refund_order", {"order_id": "1", "amount_cents": 12_900}))
    run = desk.work(desk.ask("Refund order 1", refund, says("I was not allowed to.")))
    approval = run.steps.get(state="held").approval
    bob.post(f"approvals/{approval}/votes", {"verdict": "reject", "reason": "Not yours."})
    assert desk.work(run).state == "completed"
    assert "Not yours." in str(desk.world.asked[-1])
