from __future__ import annotations

import time
from typing import Any

import pytest
from builders import Desk
from workbench import (
    LOOKING,
    SMALL,
    allow_small_refunds,
    error_told,
    kinds,
    outcomes,
    propose,
    publish,
    refund,
    told,
)
from world import calls, says

from audit.queries import entries
from gateway import attempts, completions, endpoints, routes
from gateway.models import Endpoint, Provider, Route
from runtime import runs
from runtime.models import Run, RunState, StepState
from runtime.queries import steps_of


def _message(**parts: Any) -> dict[str, Any]:
    reply = says("")
    reply["choices"][0]["message"] = {"role": "assistant", "content": None, **parts}
    return reply


def _call(**parts: Any) -> dict[str, Any]:
    function = {"name": "look_up_order", "arguments": '{"order_id": "1"}'}
    return {"id": "call_1", "type": "function", "function": {**function, **parts}}


MALFORMED = [
    b"{not json",
    b"",
    b"[]",
    {"object": "chat.completion"},
    {"choices": []},
    {"choices": [{"text": "old"}]},
    {"choices": [{"message": "hello"}]},
]


def test_what_is_not_a_completion_ends_the_run_with_the_providers_code(desk: Desk) -> None:
    for reply in MALFORMED:
        run = desk.work(desk.ask("?", reply))
        assert (run.state, run.failure["code"]) == (RunState.FAILED, "provider_malformed")
        assert outcomes(run) == [("unknown", "provider_malformed")]
        assert kinds(run)[-3:] == ["model.failed", "effect.unknown", "run.failed"]


UNUSABLE = [
    says("   "),
    _message(),
    _message(content=["parts"]),
    _message(content=7),
    _message(tool_calls="all"),
    _message(tool_calls=[{"id": "1"}]),
    _message(tool_calls=[_call(name=None)]),
    _message(tool_calls=[_call(arguments=5)]),
    _message(tool_calls=[{**_call(), "id": None}]),
    _message(tool_calls=[_call(), _call()]),
    _message(tool_calls=[{**_call(), "id": f"call_{i}"} for i in range(17)]),
]


def test_an_unusable_answer_is_repaired_by_a_recorded_retry(desk: Desk) -> None:
    for reply in UNUSABLE:
        run = desk.work(desk.ask("?", reply, says("Better.")))
        assert run.answer == {"text": "Better.", "citations": []}
        assert outcomes(run) == [("failed", "answer_unusable"), ("ended", None)]
        problem = desk.world.asked[-1]["messages"][-1]["content"]
        assert problem.startswith("That answer can't be used:")
        assert run.tokens == 30, "what was used for nothing was used too"
        called = entries(correlation=run.pk, kind="model.called")
        assert len(called) == 2, "and the ledger has its usage"
        assert all(entry.event["input_tokens"] == 10 for entry in called)


def test_a_model_that_stays_unusable_fails_after_two_repairs(desk: Desk) -> None:
    run = desk.work(desk.ask("?", says("")))
    assert (run.state, run.failure["code"]) == (RunState.FAILED, "answer_unusable")
    told = "The model's answers could not be used: "
    assert run.failure["message"] == told + list(steps_of(run))[-1].turn["problem"]
    assert len(desk.world.asked) == 3


def test_a_usable_turn_in_between_starts_the_count_anew(desk: Desk) -> None:
    script = [says(""), says(""), calls(LOOKING), says(""), says(""), says("At last.")]
    run = desk.work(desk.ask("?", *script))
    assert run.answer["text"] == "At last."


def test_characters_that_can_not_be_kept_are_replaced(desk: Desk) -> None:
    strange = calls(("look_up\0", "{}"), ("look_up_order", '{"order_id": "a\\u0000b"}'))
    run = desk.work(desk.ask("?", strange, says("A\0B")))
    assert outcomes(run)[1:3] == [("refused", "unknown_tool"), ("refused", "invalid_arguments")]
    assert run.answer["text"] == "A\ufffdB"


def test_arguments_that_are_sent_as_an_object_are_understood(desk: Desk) -> None:
    reply = _message(tool_calls=[_call(arguments={"order_id": "1042"})])
    run = desk.work(desk.ask("?", reply, says("Found.")))
    assert outcomes(run)[1] == ("ended", None)
    assert told(desk)[0]["order_id"] == "1042"


UNFIT = [
    "{not json",
    "[1]",
    "{}",
    "",
    {"order_id": 5},
    {"order_id": "1", "amount_cents": 0},
    {"order_id": "1", "amount_cents": 5.0},
    {"order_id": "1", "amount_cents": 2**60},
    {"order_id": "1", "amount_cents": 1, "approved": True},
    "[" * 2_000 + "]" * 2_000,
    '{"order_id": "\\ud800", "amount_cents": 1}',
]


def test_arguments_against_the_schema_are_no_intent(desk: Desk) -> None:
    allow_small_refunds(desk)
    publish(desk, limits_={"steps": 2 + len(UNFIT)})
    run = propose(desk, *[("refund_order", arguments) for arguments in UNFIT])
    assert outcomes(run)[1:-1] == [("refused", "invalid_arguments")] * len(UNFIT)
    assert [each["error"]["code"] for each in told(desk)] == ["invalid_arguments"] * len(UNFIT)
    assert (run.state, desk.world.refunds) == (RunState.COMPLETED, [])


def test_a_long_wrong_argument_is_not_told_back_in_full(desk: Desk) -> None:
    wrong = {"order_id": ["x" * 50_000]}
    propose(desk, ("look_up_order", wrong))
    assert len(error_told(desk)["message"]) < 1_000


def test_an_unknown_function_is_told_and_its_name_stays_out_of_the_ledger(desk: Desk) -> None:
    run = propose(desk, ("send_to_jane_doe", {}))
    assert error_told(desk)["code"] == "unknown_tool"
    (entry,) = entries(correlation=run.pk, kind="intent.refused")
    assert entry.event == {"code": "unknown_tool", "function": "", "step": 2}


def test_several_calls_of_one_turn_are_done_in_order_each_of_them_governed(desk: Desk) -> None:
    allow_small_refunds(desk)
    run = propose(desk, LOOKING, refund(SMALL), ("nothing", {}), refund(SMALL + 1))
    assert outcomes(run)[1:5] == [
        ("ended", None),
        ("ended", None),
        ("refused", "unknown_tool"),
        ("ended", None),
    ]
    assert [r["amount_cents"] for r in desk.world.refunds] == [SMALL, SMALL + 1]
    decided = [e.event["step"] for e in entries(correlation=run.pk, kind="intent.decided")]
    assert sorted(decided) == [1, 2, 3, 5, 6]
    assert len(desk.world.asked) == 2


def test_an_id_that_comes_again_in_a_later_turn_is_a_new_call(desk: Desk) -> None:
    allow_small_refunds(desk)
    run = desk.work(
        desk.ask("?", calls(refund(SMALL)), calls(refund(SMALL + 1)), says("Both are done."))
    )
    assert [r["amount_cents"] for r in desk.world.refunds] == [SMALL, SMALL + 1]
    assert (run.state, run.answer["text"]) == (RunState.COMPLETED, "Both are done.")
    assert [kind for kind in kinds(run) if kind == "effect.ended"] == ["effect.ended"] * 5


def test_a_tool_that_answers_passages_has_shown_none(desk: Desk) -> None:
    forged = {"passages": [{"ref": "P1", "document": "Forged", "heading": None, "page": None}]}
    desk.world.tool_reply = lambda request: request.answer(forged) or True
    run = desk.work(desk.ask("?", calls(LOOKING), says("So it is [P1]."), says("I don't know.")))
    assert (run.state, run.answer["citations"]) == (RunState.COMPLETED, [])
    assert steps_of(run)[2].error_code == "answer_unusable"
    desk.world.tool_reply = lambda request: request.answer({"passages": 5}) or True
    assert propose(allow_small_refunds(desk), LOOKING).state == RunState.COMPLETED


def test_a_run_may_use_its_last_step_to_answer(desk: Desk) -> None:
    publish(desk, limits_={"steps": 1})
    run = desk.work(desk.ask("?", says("At once.")))
    assert (run.state, run.answer["text"]) == (RunState.COMPLETED, "At once.")


@pytest.mark.parametrize(
    ("limits", "name", "asked"),
    [
        ({"steps": 3}, "steps", 2),
        ({"tokens": 30}, "tokens", 2),
        ({"cost_micros": 50}, "cost_micros", 3),
    ],
)
def test_a_model_that_never_stops_calling_ends_at_a_limit(
    desk: Desk, limits: dict[str, int], name: str, asked: int
) -> None:
    publish(desk, limits_=limits)
    run = desk.work(desk.ask("?", lambda _: calls(LOOKING)))
    assert run.failure == {
        "code": "limit_reached",
        "message": f"The run reached its limit of {name}.",
    }
    assert len(desk.world.asked) == asked
    assert kinds(run)[-1] == "run.failed"


def test_a_run_that_takes_too_long_ends_at_its_limit_of_seconds(desk: Desk) -> None:
    publish(desk, limits_={"seconds": 60})
    run = desk.ask("?", calls(LOOKING), says("Too late."))
    assert runs.take_step(run.pk, holder="w", now=desk.later(seconds=59))
    assert not runs.take_step(run.pk, holder="w", now=desk.later(seconds=60))
    run.refresh_from_db()
    assert run.failure["message"] == "The run reached its limit of seconds."


def test_a_model_that_hangs_is_cut_off_when_the_runs_time_is_over(desk: Desk) -> None:
    publish(desk, limits_={"seconds": 3})
    Provider.objects.filter(slug="scripted").update(timeout_seconds=60)
    run = desk.ask("?", lambda _: time.sleep(4))
    began = time.monotonic()
    runs.take_step(run.pk, holder="w", now=desk.later(seconds=2))
    assert 0.9 < time.monotonic() - began < 3
    assert not runs.take_step(run.pk, holder="w", now=desk.later(seconds=3))
    run.refresh_from_db()
    assert run.failure == {
        "code": "limit_reached",
        "message": "The run reached its limit of seconds.",
    }
    assert outcomes(run) == [("unknown", "limit_reached")], "the model may have answered"
    assert kinds(run)[-3:] == ["model.failed", "effect.unknown", "run.failed"]
    failed = entries(correlation=run.pk, kind="model.failed")[0]
    assert failed.event["attempts"] == ["scripted-chat: out_of_time"]


@pytest.mark.soak
def test_tries_and_fallbacks_share_the_runs_time(desk: Desk) -> None:
    publish(desk, limits_={"seconds": 2})
    chat = Endpoint.objects.get(slug="scripted-chat")
    second = endpoints.add(
        "second",
        provider=chat.provider,
        model="second",
        purpose="chat",
        by=desk.cast.alice,
        now=desk.now,
    )
    routes.change(Route.objects.get(slug="answers"), endpoints=[chat, second], by=desk.cast.alice)
    began = time.monotonic()
    run = desk.work(desk.ask("?", lambda _: time.sleep(1.5)))
    assert time.monotonic() - began < 5
    assert run.failure["code"] == "limit_reached"
    failed = entries(correlation=run.pk, kind="model.failed")[0]
    assert failed.event["attempts"][0] == "scripted-chat: provider_timeout"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's patience, without its pauses."""
    patience = attempts.Patience(attempts=2, first_wait=0.001, longest_wait=0.01)
    monkeypatch.setattr(completions.complete, "__kwdefaults__", {"patience": patience})


@pytest.mark.parametrize(
    ("status", "code"), [(429, "provider_rate_limited"), (500, "provider_unavailable")]
)
def test_a_provider_that_fails_ends_the_run_with_its_code(
    desk: Desk, hasty: None, status: int, code: str
) -> None:
    run = _with_provider(desk, "/broken", status)
    assert (run.state, run.failure["code"]) == (RunState.FAILED, code)
    assert kinds(run)[-2:] == ["effect.failed", "run.failed"]
    assert desk.work(run).state == RunState.FAILED


@pytest.mark.soak
def test_a_provider_that_hangs_ends_the_run_with_its_code(desk: Desk, hasty: None) -> None:
    run = _with_provider(desk, "/hanging", None)
    assert (run.state, run.failure["code"]) == (RunState.FAILED, "provider_timeout")


def _with_provider(desk: Desk, path: str, status: int | None) -> Run:
    """A run whose provider answers with `status`, or not at all."""

    def reply(request: Any) -> bool:
        if status is None:
            time.sleep(1.3)
            request.close_connection = True
        else:
            request.answer({"error": {"message": "no"}}, status)
        return True

    Provider.objects.filter(slug="scripted").update(
        base_url=f"{desk.world.address}{path}", timeout_seconds=1
    )
    desk.world.tool_reply = reply
    return desk.work(desk.ask("?", says("never said")))


def test_a_provider_whose_next_endpoint_answers_is_no_failure(desk: Desk, hasty: None) -> None:
    chat = Endpoint.objects.get(slug="scripted-chat")
    broken = endpoints.add(
        "broken",
        provider=chat.provider,
        model="broken",
        purpose="chat",
        by=desk.cast.alice,
        now=desk.now,
    )
    route = Route.objects.get(slug="answers")
    routes.change(route, endpoints=[broken, chat], by=desk.cast.alice)

    def reply(body: dict[str, Any]) -> Any:
        return b"{" if body["model"] == "broken" else says("From the second.")

    run = desk.work(desk.ask("?", reply))
    assert run.answer["text"] == "From the second."


def test_a_route_that_is_gone_ends_the_run(desk: Desk) -> None:
    run = desk.ask("?", says("never said"))
    Route.objects.get(slug="answers").delete()
    desk.work(run)
    assert (run.state, run.failure["code"]) == (RunState.FAILED, "resource_unknown")
    assert kinds(run) == ["run.started", "run.failed"]


SCHEMA = {
    "type": "object",
    "properties": {"days": {"type": "integer"}, "price": {"type": "number"}},
    "required": ["days"],
    "additionalProperties": False,
}


def test_an_answer_is_parsed_against_the_versions_contract(desk: Desk) -> None:
    publish(desk, answer_schema=SCHEMA)
    run = desk.work(desk.ask("?", says('{"days": 30, "price": 1.5}')))
    assert run.answer["data"] == {"days": 30, "price": 1.5}


@pytest.mark.parametrize(
    "wrong", ["30 days", '{"days": "30"}', "[]", '{"days": 1, "x": 2}', "[" * 5_000, "NaN"]
)
def test_an_answer_that_breaks_the_contract_is_repaired_twice_and_then_fails(
    desk: Desk, wrong: str
) -> None:
    publish(desk, answer_schema=SCHEMA)
    repaired = desk.work(desk.ask("?", says(wrong), says(wrong), says('{"days": 30}')))
    assert repaired.answer["data"] == {"days": 30}
    failed = desk.work(desk.ask("?", says(wrong)))
    assert (failed.state, failed.failure["code"]) == (RunState.FAILED, "answer_unusable")
    assert [step.state for step in steps_of(failed)] == [StepState.FAILED] * 3


def test_a_nul_in_a_structured_answer_is_not_kept(desk: Desk) -> None:
    publish(desk, answer_schema={"type": "string"})
    run = desk.work(desk.ask("?", says('"a\\u0000b"'), says('"ab"')))
    assert run.answer["data"] == "ab"
