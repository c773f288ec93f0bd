from __future__ import annotations

import pytest
from builders import Desk
from world import calls, says

from runtime.models import RunState, StepState
from runtime.queries import steps_of


def _entries(desk: Desk, run: object) -> list[str]:
    from audit.queries import entries

    return [row.kind for row in reversed(list(entries(correlation=run.pk)))]


def test_an_answer_is_given_and_every_step_is_recorded(desk: Desk) -> None:
    run = desk.work(desk.ask("How long may I return a kettle?", says("For 30 days.")))
    assert run.state == RunState.COMPLETED
    assert run.answer == {"text": "For 30 days.", "citations": []}
    assert (run.tokens, run.cost_micros) == (15, 20)
    assert _entries(desk, run) == [
        "run.started",
        "intent.decided",
        "effect.begun",
        "model.called",
        "effect.ended",
        "run.completed",
    ]


def test_a_read_tool_runs_unattended_and_a_write_is_held(desk: Desk) -> None:
    run = desk.ask(
        "Refund order 1042",
        calls(("look_up_order", {"order_id": "1042"})),
        calls(("refund_order", {"order_id": "1042", "amount_cents": 12_900}), first_id="call_2"),
        says("Refunded."),
    )
    desk.work(run)
    assert run.state == RunState.HELD
    assert [step.state for step in steps_of(run)] == ["ended", "ended", "ended", "held"]
    assert desk.world.refunds == []


def test_passages_are_shown_with_references_and_cited_in_the_answer(stocked_desk: Desk) -> None:
    run = stocked_desk.ask(
        "How long may I return electronics?",
        calls(("search_handbook", {"query": "How long may I return electronics?"})),
        says("Electronics have a window of 14 days [P1]."),
    )
    stocked_desk.work(run)
    assert run.state == RunState.COMPLETED, run.failure
    (citation,) = run.answer["citations"]
    assert citation["document"] == "Returns handbook"
    assert "Electronics" in citation["text"]


def test_a_citation_of_something_never_shown_is_repaired_by_a_recorded_retry(desk: Desk) -> None:
    run = desk.work(desk.ask("?", says("It is so [P7]."), says("I don't know.")))
    assert run.answer == {"text": "I don't know.", "citations": []}
    assert steps_of(run)[0].error_code == "answer_unusable"


@pytest.mark.parametrize(
    ("proposal", "code"),
    [
        (("no_such_tool", {}), "unknown_tool"),
        (("refund_order", {"order_id": "1042"}), "invalid_arguments"),
        (("refund_order", {"order_id": "1042", "amount_cents": 12.5}), "invalid_arguments"),
        (("refund_order", "{not json"), "invalid_arguments"),
    ],
)
def test_what_is_no_intent_is_refused_and_the_model_is_told(
    desk: Desk, proposal: tuple[str, object], code: str
) -> None:
    run = desk.work(desk.ask("?", calls(proposal), says("Sorry.")))
    assert run.state == RunState.COMPLETED
    refused = steps_of(run)[1]
    assert (refused.state, refused.error_code) == (StepState.REFUSED, code)
    assert "intent.refused" in _entries(desk, run)


def test_a_model_that_never_stops_calling_reaches_the_limit(desk: Desk) -> None:
    def again(body: dict) -> object:
        return calls(("look_up_order", {"order_id": "1"}), first_id=f"call_{len(body['messages'])}")

    run = desk.work(desk.ask("?", again))
    assert run.state == RunState.FAILED
    assert run.failure["code"] == "limit_reached"
    assert len(steps_of(run)) == 12
