"""A client that asks an agent again, because it lost patience or its line, starts no second run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import builders
import committed
import httpx2
import openai
import pytest
from cast import Cast
from django.db import transaction
from world import World, calls, says

from api import kept_answers
from api.kept_answers import Asked
from api.models import KeptAnswer
from governance import policy_sets
from runtime import toolbox
from runtime.models import Run
from tenants.keys import issuing

ASK: Any = [{"role": "user", "content": "Refund order A1."}]
REFUND = ("refund_order", {"order_id": "A1", "amount_cents": 100})
MODEL = "agent:refund-desk"
COUNT = "X-Stainless-Retry-Count"
PATH = "/v1/chat/completions"


def body(**more: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": ASK, **more}).encode()


@pytest.fixture
def desk(office: Any, world: World) -> builders.Desk:
    """acme's refund desk, committed, which refunds small amounts by itself."""
    cast, now = office.cast, datetime.now(UTC)
    committed.furnish("office that refunds", cast.tenant, lambda: _furnish(cast, world, now))
    world.script[:] = [calls(REFUND), says("Refunded.")]
    return builders.desk_of(cast, world, now)


def _furnish(cast: Cast, world: World, now: datetime) -> None:
    builders.furnish(cast, world, now)
    text = policy_sets.policies.DEFAULT_POLICY + builders.SMALL_REFUNDS
    policy_sets.save(text, tools=toolbox.schemas, by=cast.alice, now=now)


def served(desk: builders.Desk, ask: Callable[[], Any], *, after: float = 0) -> Any:
    """What `ask` returns, while a worker takes each run's steps `after` so many seconds."""
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        while not asking.done():
            old = datetime.now(UTC) - timedelta(seconds=after)
            for run in Run.objects.filter(state="active", created_at__lte=old):
                desk.now = datetime.now(UTC)
                desk.work(run)
            time.sleep(0.05)
        return asking.result()


@pytest.mark.soak
def test_a_stock_client_that_times_out_gets_the_answer_of_its_one_run(
    desk: builders.Desk, office: Any
) -> None:
    tries: list[str] = []
    with noting(tries) as line:
        client = office.client(timeout=1, http_client=line).with_options(max_retries=5)

        def ask() -> Any:
            return client.chat.completions.create(model=MODEL, messages=ASK)

        answer = served(desk, ask, after=2)
    assert answer.choices[0].message.content == "Refunded."
    assert tries[:2] == ["0", "1"]
    assert (Run.objects.count(), len(desk.world.refunds)) == (1, 1)


def noting(tries: list[str]) -> httpx2.Client:
    """An HTTP client that notes which try it sends."""

    def note(request: httpx2.Request) -> None:
        tries.append(request.headers["x-stainless-retry-count"])

    return httpx2.Client(event_hooks={"request": [note]}, timeout=httpx2.Timeout(1), verify=False)


def test_each_call_of_a_stock_client_is_a_run_of_its_own(desk: builders.Desk, office: Any) -> None:
    client = office.client()
    for _ in range(2):
        desk.world.script[:] = [says("Yes.")]
        served(desk, lambda: client.chat.completions.create(model=MODEL, messages=ASK))
    assert Run.objects.count() == 2


def posted(desk: builders.Desk, office: Any, content: bytes, **headers: str) -> Any:
    """The answer to a request, while a worker takes the run's steps."""
    return served(desk, partial(office.post, PATH, content, **headers))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("again", [{"Idempotency-Key": "k"}, {COUNT: "1"}], ids=["key", "count"])
def test_a_retry_finds_the_run_and_brings_its_answer_again(
    desk: builders.Desk, office: Any, stream: bool, again: dict[str, str]
) -> None:
    desk.world.script[:] = [says("Yes.")]
    first = {COUNT: "0"} if COUNT in again else again
    answers = [
        posted(desk, office, body(stream=stream), **headers) for headers in (first, again, again)
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert all("Yes." in answer.text for answer in answers)
    assert [a.headers.get("idempotent-replayed") for a in answers] == [None, "true", "true"]
    assert Run.objects.count() == 1


def test_while_the_run_is_under_way_a_second_request_waits_for_it(
    desk: builders.Desk, office: Any
) -> None:
    desk.world.script[:] = [says("Yes.")]
    with ThreadPoolExecutor(2) as threads:
        asking = [
            threads.submit(office.post, PATH, body(), **{"Idempotency-Key": "k"}) for _ in range(2)
        ]
        answers = served(desk, lambda: [each.result() for each in asking], after=0.5)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["countersign"] == answers[1].json()["countersign"]
    assert Run.objects.count() == 1


def test_while_another_try_starts_the_run_one_waits_for_it(
    desk: builders.Desk, office: Any
) -> None:
    """The key is held as the other try holds it, by a transaction that has not ended."""
    desk.world.script[:] = [says("Yes.")]
    asked = Asked(f"client_app:{office.key.public_id}", "k", "", datetime.now(UTC))
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            kept_answers.take_until_commit(asked)
            asking = threads.submit(office.post, PATH, body(), **{"Idempotency-Key": "k"})
            time.sleep(0.5)
            assert not asking.done()
            assert not Run.objects.exists()
        assert served(desk, asking.result).status_code == 200


def test_the_same_key_with_another_request_is_refused(desk: builders.Desk, office: Any) -> None:
    desk.world.script[:] = [says("Yes.")]
    posted(desk, office, body(), **{"Idempotency-Key": "k"})
    client = office.client(default_headers={"Idempotency-Key": "k"})
    for more in ({"stream": True}, {"messages": [{"role": "user", "content": "Another."}]}):
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            client.chat.completions.create(**{"model": MODEL, "messages": ASK, **more})
        assert refused.value.code == "idempotency_key_reused"
        assert refused.value.type == "invalid_request_error"
    assert Run.objects.count() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_a_bad_request(desk: builders.Desk, office: Any, key: str) -> None:
    answer = office.post(PATH, body(), **{"Idempotency-Key": key})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "idempotency_key_malformed"
    assert not Run.objects.exists()


def test_a_retry_of_somebody_else_or_of_something_else_starts_its_own_run(
    desk: builders.Desk, office: Any
) -> None:
    _, other = issuing.issue_service_key("other", by=desk.cast.alice, now=datetime.now(UTC))
    desk.world.script[:] = [says("Yes.")]
    for content, headers in (
        (body(), {COUNT: "0"}),
        (body(), {COUNT: "1", "Authorization": f"Bearer {other}"}),
        (body(temperature=0), {COUNT: "1"}),
        (body(), {}),
    ):
        answer = posted(desk, office, content, **headers)
        assert answer.status_code == 200
    assert Run.objects.count() == 4


def test_a_retry_without_a_key_finds_no_run_after_a_quarter_of_an_hour(
    desk: builders.Desk, office: Any
) -> None:
    desk.world.script[:] = [says("Yes.")]
    ages = [timedelta(0), timedelta(minutes=14), timedelta(minutes=16)]
    for count, age in enumerate(ages):
        # What an earlier retry found is found for as long again.
        KeptAnswer.objects.update(created_at=datetime.now(UTC) - age)
        posted(desk, office, body(), **{COUNT: str(count)})
    assert Run.objects.count() == 2


def test_a_key_is_nobodys_retry_without_a_key(desk: builders.Desk, office: Any) -> None:
    desk.world.script[:] = [says("Yes.")]
    posted(desk, office, body(), **{COUNT: "0"})
    kept = KeptAnswer.objects.get()
    posted(desk, office, body(), **{"Idempotency-Key": kept.key})
    assert Run.objects.count() == 2


@pytest.mark.soak
def test_a_try_that_was_given_up_before_its_turn_starts_nothing(
    desk: builders.Desk, office: Any
) -> None:
    """The database stalls; the client has sent its retry by the time that the first is served."""
    desk.world.script[:] = [says("Yes.")]
    key = {"Idempotency-Key": "k"}
    asked = Asked(f"client_app:{office.key.public_id}", "k", "", datetime.now(UTC))
    with transaction.atomic():
        kept_answers.take_until_commit(asked)
        with pytest.raises(httpx2.TimeoutException):
            office.post(PATH, body(), timeout=0.5, **key)
    time.sleep(0.5)
    assert not Run.objects.exists()
    assert posted(desk, office, body(), **key).status_code == 200
    assert Run.objects.count() == 1


def test_what_was_refused_is_not_kept(desk: builders.Desk, office: Any) -> None:
    desk.world.script[:] = [says("Yes.")]
    key = {"Idempotency-Key": "k"}
    assert office.post(PATH, body(model="agent:nobody"), **key).status_code == 404
    assert posted(desk, office, body(), **key).status_code == 200
