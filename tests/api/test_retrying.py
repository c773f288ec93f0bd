"""A retry with the same Idempotency-Key gets the same answer, and nothing happens twice."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from builders import Desk
from callers import Caller, Estate, member, service_key
from cast import PASSWORD, ROBO, Cast
from django.db import connection

from api import idempotency
from api.models import KeptAnswer
from runtime import runs
from runtime.models import Agent, Run

RUNS = "agents/refund-desk/runs"
TASK = {"task": "Refund me."}


def test_a_retry_gets_the_same_answer_and_starts_no_second_run(desk: Desk, robo: Caller) -> None:
    first = robo.post(RUNS, TASK, idempotency_key="k-1")
    again = robo.post(RUNS, b'{ "task":"Refund me." }', idempotency_key="k-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again["Location"] == first["Location"]
    assert (again["Idempotent-Replayed"], first.get("Idempotent-Replayed")) == ("true", None)
    assert Run.objects.count() == 1


def test_the_same_key_with_another_body_or_address_is_refused(desk: Desk, robo: Caller) -> None:
    run = robo.post(RUNS, TASK, idempotency_key="k-1").json()["id"]
    for answer in (
        robo.post(RUNS, {"task": "Something else."}, idempotency_key="k-1"),
        robo.post(f"runs/{run}/cancel", idempotency_key="k-1"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert Run.objects.get().state == "active"


def test_keys_of_two_callers_never_meet(desk: Desk, robo: Caller, other_app: Caller) -> None:
    mine = robo.post(RUNS, TASK, idempotency_key="k-1").json()
    theirs = other_app.post(RUNS, TASK, idempotency_key="k-1").json()
    assert mine["id"] != theirs["id"]


def test_a_vote_is_replayed_not_repeated(estate: Estate, bob: Caller) -> None:
    path = f"approvals/{estate.approval}/votes"
    first = bob.post(path, {"verdict": "approve"}, idempotency_key="v")
    again = bob.post(path, {"verdict": "approve"}, idempotency_key="v")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()


def test_what_failed_is_not_kept_and_may_be_tried_again(desk: Desk, dave: Caller) -> None:
    wrong = dave.post("agents", {"slug": "x"}, idempotency_key="k")
    right = dave.post("agents", {"slug": "x", "name": "X"}, idempotency_key="k")
    assert (wrong.status_code, right.status_code) == (422, 201)


def test_an_effect_that_fails_late_leaves_neither_itself_nor_an_answer(
    desk: Desk, dave: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(idempotency, "_keep", fail)
    answer = dave.post("agents", {"slug": "x", "name": "X"}, idempotency_key="k")
    assert answer.status_code == 500
    assert not Agent.objects.filter(slug="x").exists()
    assert not KeptAnswer.objects.exists()


def test_a_secret_in_a_kept_answer_is_sealed_and_shown_to_a_retry(alice: Caller) -> None:
    first = alice.post("keys", {"name": "Shop"}, idempotency_key="k")
    again = alice.post("keys", {"name": "Shop"}, idempotency_key="k")
    secret = first.json()["secret"]
    assert again.json()["secret"] == secret
    kept = bytes(KeptAnswer.objects.get().body)
    assert secret.encode() not in kept
    assert secret.rpartition("_")[2].encode() not in kept


def test_signing_in_is_retried_with_the_right_password_only(acme: Cast) -> None:
    caller = Caller(None, "acme.localhost")
    right = {"email": "alice@acme.test", "password": PASSWORD}
    first = caller.post("sign-in", right, idempotency_key="k")
    again = caller.post("sign-in", right, idempotency_key="k")
    wrong = caller.post("sign-in", {**right, "password": "guess"}, idempotency_key="k")
    assert again.json() == first.json()
    assert wrong.status_code == 401
    kept = KeptAnswer.objects.get()
    assert PASSWORD.encode() not in bytes(kept.body)


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb"])
def test_a_key_that_is_none_is_refused(desk: Desk, robo: Caller, key: str) -> None:
    answer = robo.post(RUNS, TASK, idempotency_key=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_malformed")


def test_keys_expire_after_a_day(desk: Desk, robo: Caller) -> None:
    first = robo.post(RUNS, TASK, idempotency_key="k").json()
    robo.post(RUNS, TASK, idempotency_key="other")
    KeptAnswer.objects.update(created_at=desk.now - timedelta(hours=25))
    assert robo.post(RUNS, TASK, idempotency_key="k").json()["id"] != first["id"]
    assert list(KeptAnswer.objects.values_list("key", flat=True)) == ["k"]


def test_of_many_at_once_one_acts_and_the_others_are_told_so(
    committed_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = committed_desk.cast
    app = service_key("acme", "2" * 16, acme.alice.id)
    begun, go_on = threading.Event(), threading.Event()
    start = runs.start

    def slowly(*args: Any, **named: Any) -> Run:
        begun.set()
        assert go_on.wait(10)
        return start(*args, **named)

    monkeypatch.setattr(runs, "start", slowly)
    monkeypatch.setattr("runtime.nudges.after_commit", lambda run: None)
    answers: list[Any] = []

    def ask() -> None:
        answers.append(app.post(RUNS, TASK, idempotency_key="k"))
        connection.close()

    first = threading.Thread(target=ask)
    first.start()
    assert begun.wait(10)
    meanwhile = app.post(RUNS, TASK, idempotency_key="k")
    go_on.set()
    first.join()
    after = app.post(RUNS, TASK, idempotency_key="k")
    assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "request_in_progress")
    assert answers[0].status_code == 202
    assert after.json() == answers[0].json()
    assert Run.objects.count() == 1


def test_a_search_is_replayed_without_a_second_decision(
    stocked_desk: Desk, robo: Caller, carol: Caller
) -> None:
    path, query = "collections/handbook/search", {"query": "gift cards"}
    first = robo.post(path, query, idempotency_key="k")
    entries = carol.get("ledger/entries").json()["results"]
    again = robo.post(path, query, idempotency_key="k")
    other = robo.post(path, {"query": "electronics"}, idempotency_key="k")
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")
    assert carol.get("ledger/entries").json()["results"] == entries
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_denied_search_gives_its_key_back(
    stocked_desk: Desk, robo: Caller, alice: Caller
) -> None:
    path, query = "collections/handbook/search", {"query": "gift cards"}
    asker = {"idempotency_key": "k"}
    text = alice.get("policies/active").json()["text"]
    alice.post("policies", {"text": '@id("no") forbid (principal, action, resource);'})
    assert robo.post(path, query, **asker).status_code == 403
    alice.post("policies", {"text": text})
    allowed = robo.post(path, query, **asker)
    assert (allowed.status_code, allowed.get("Idempotent-Replayed")) == (200, None)
    name = f"idempotency {stocked_desk.cast.tenant.schema_name} client_app:{ROBO.id} k"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])
        assert cursor.fetchone() == (False,), "it is held no more"


def test_a_member_of_two_keys_is_one_caller(desk: Desk) -> None:
    first = member(desk.cast.dave).post("agents", {"slug": "x", "name": "X"}, idempotency_key="k")
    again = member(desk.cast.dave).post("agents", {"slug": "x", "name": "X"}, idempotency_key="k")
    assert (first.json(), again.status_code) == (again.json(), 201)
