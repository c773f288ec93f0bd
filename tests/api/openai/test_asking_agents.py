"""OpenAI's own client gives an agent a task by `model="agent:<slug>"`: a governed run answers."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import builders
import committed
import msgspec
import openai
import pytest
from world import World, calls, says

from runtime.models import Run, RunState
from tenants.keys import issuing

TASK: Any = [
    {"role": "system", "content": "Ignored: the agent has its own instructions."},
    {"role": "user", "content": [{"type": "text", "text": "May I return unused goods?"}]},
]


class Counter(msgspec.Struct):
    """A client in front of acme's refund desk, and a worker behind it."""

    desk: builders.Desk
    office: Any

    def asked(self, **more: Any) -> Any:
        """What OpenAI's client gets, while the worker takes the run's steps."""
        result: dict[str, Any] = {}
        client = threading.Thread(target=self._call, args=(result, more), daemon=True)
        client.start()
        try:
            run = self._begun()
            self.desk.now = datetime.now(UTC)
            self.desk.work(run)
        finally:
            client.join(20)
        if "problem" in result:
            raise result["problem"]
        return result["answer"]

    def _call(self, result: dict[str, Any], more: dict[str, Any]) -> None:
        request = {"model": "agent:refund-desk", "messages": TASK, **more}
        try:
            result["answer"] = self.office.client().chat.completions.create(**request)
            if more.get("stream"):
                result["answer"] = list(result["answer"])
        except openai.OpenAIError as problem:
            result["problem"] = problem

    def _begun(self) -> Run:
        deadline = time.monotonic() + 10
        while (run := Run.objects.first()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return run


@pytest.fixture
def counter(office: Any, world: World) -> Counter:
    """acme's refund desk, committed, with one more client app."""
    cast, now = office.cast, datetime.now(UTC)
    committed.furnish("office and desk", cast.tenant, lambda: builders.furnish(cast, world, now))
    return Counter(builders.desk_of(cast, world, now), office)


def test_a_runs_answer_is_a_chat_completion(counter: Counter) -> None:
    counter.desk.world.script[:] = [says("Within 30 days.")]
    answer = counter.asked()
    assert answer.choices[0].message.content == "Within 30 days."
    assert answer.choices[0].finish_reason == "stop"
    run = Run.objects.get()
    assert run.task == "May I return unused goods?"
    assert (run.requester_kind, run.requester) == ("client_app", counter.office.key.public_id)
    extra = answer.model_extra["countersign"]
    assert (extra["run"], extra["state"], extra["citations"]) == (str(run.pk), "completed", [])


def test_a_streamed_run_says_that_it_goes_on_and_then_its_answer(counter: Counter) -> None:
    counter.desk.world.script[:] = [says("Within 30 days.")]
    chunks = counter.asked(stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Within 30 days."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {chunk.model_extra["countersign"]["run"] for chunk in chunks} == {
        str(Run.objects.get().pk)
    }
    assert chunks[-1].model_extra["countersign"]["state"] == "completed"


def test_a_held_run_answers_that_it_waits_for_approval(counter: Counter) -> None:
    refund = ("refund_order", {"order_id": "A1", "amount_cents": 9_000})
    counter.desk.world.script[:] = [calls(refund)]
    answer = counter.asked()
    run = Run.objects.get()
    assert run.state == RunState.HELD
    assert "approval" in answer.choices[0].message.content
    assert str(run.pk) in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model_extra["countersign"]["state"] == "held"


def test_a_run_that_fails_is_an_error_that_is_not_tried_again(counter: Counter) -> None:
    counter.desk.world.script[:] = [{"choices": []}]
    with pytest.raises(openai.InternalServerError) as failed:
        counter.asked()
    assert failed.value.code == "run_failed"
    assert failed.value.response.headers["x-should-retry"] == "false"
    assert str(Run.objects.get().pk) in failed.value.message


def test_a_streamed_run_that_fails_ends_with_the_error(counter: Counter) -> None:
    counter.desk.world.script[:] = [{"choices": []}]
    with pytest.raises(openai.APIError, match="failed"):
        counter.asked(stream=True)


def test_agents_are_listed_as_models(counter: Counter) -> None:
    _, secret = issuing.issue_service_key("x", by=counter.office.cast.alice, now=datetime.now(UTC))
    client = counter.office.client(secret)
    assert "agent:refund-desk" in [model.id for model in client.models.list()]
    assert client.models.retrieve("agent:refund-desk").id == "agent:refund-desk"


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"model": "agent:nobody"}, openai.NotFoundError),
        ({"messages": [{"role": "system", "content": "x"}]}, openai.BadRequestError),
        ({"messages": [{"role": "user", "content": " "}]}, openai.BadRequestError),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            openai.BadRequestError,
        ),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, openai.BadRequestError),
    ],
    ids=["unknown-agent", "no-user", "blank", "image", "tools"],
)
def test_what_an_agent_cannot_be_asked(counter: Counter, request_: Any, kind: Any) -> None:
    request = {"model": "agent:refund-desk", "messages": TASK, **request_}
    with pytest.raises(kind):
        counter.office.client().chat.completions.create(**request)
    assert not Run.objects.exists()
