from __future__ import annotations

import threading
from datetime import UTC, datetime

from builders import SMALL_REFUNDS, furnish
from cast import Cast
from journeys.conftest import Stack
from world import World, calls, says

from audit.queries import entries
from governance import policy_sets
from governance.policies import DEFAULT_POLICY
from runtime import runs, toolbox
from runtime.models import Run


def _state(run: Run) -> str:
    run.refresh_from_db()
    return run.state


def test_a_worker_killed_in_the_middle_of_a_refund_repeats_nothing(
    committed_acme: Cast, world: World, stack: Stack
) -> None:
    now = datetime.now(UTC)
    desk = furnish(committed_acme, world, now)
    text = DEFAULT_POLICY + SMALL_REFUNDS
    policy_sets.save(text, tools=toolbox.schemas, by=desk.cast.alice, now=now)
    arrived, slow = threading.Event(), threading.Event()

    def dawdle(request: object) -> bool:
        if request.command == "POST" and not slow.is_set():  # type: ignore[attr-defined]
            arrived.set()
            slow.wait(1.5)
        return False

    world.tool_reply = dawdle
    world.script[:] = [
        lambda body: (
            says("Refunded.")
            if any(m["role"] == "tool" for m in body["messages"])
            else calls(("refund_order", {"order_id": "1042", "amount_cents": 2_500}))
        )
    ]
    run = runs.start(
        "Refund 25.00", agent=desk.agent, principal=desk.cast.robo, now=datetime.now(UTC)
    )
    stack.wait_until(arrived.is_set)
    stack.processes.kill("worker")
    slow.set()
    stack.processes.start_again("worker")
    stack.wait_until(lambda: _state(run) == "completed", seconds=40)
    assert world.refunds == [{"order_id": "1042", "amount_cents": 2_500}]
    kinds = [entry.kind for entry in entries(correlation=run.pk)]
    assert kinds.count("effect.begun") == kinds.count("effect.ended") + 1


def test_a_run_goes_from_its_start_to_its_answer_without_anybody_nudging_it(
    committed_acme: Cast, world: World, stack: Stack
) -> None:
    desk = furnish(committed_acme, world, datetime.now(UTC))
    world.script[:] = [says("For 30 days.")]
    run = runs.start("How long?", agent=desk.agent, principal=desk.cast.robo, now=datetime.now(UTC))
    stack.wait_until(lambda: _state(run) == "completed")
