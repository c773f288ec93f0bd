"""The only place for part 7: a worker dies in the middle of a refund."""

from __future__ import annotations

import time

from demo import running
from demo.narrator import DidNotHold, Narrator
from demo.scene import Scene, answer_of, refunded_once

INTERRUPTED = "The grip of a pole of order {order} is scratched. Please refund 20.00 EUR for it."
SLOW_MILLISECONDS = 1_500


def a_killed_worker_repeats_nothing(scene: Scene) -> None:
    """7. SIGKILL between the shop's refund and its answer: the run ends, the refund stays one."""
    tell, processes = scene.narrator, scene.installation.processes
    tell.part(7, "The worker is killed in the middle of a refund")
    order = scene.orders.number("1003")
    task = INTERRUPTED.format(order=order)
    scene.orders.slow_down(SLOW_MILLISECONDS)
    tell.quotes("The task", task)
    run = running.give(scene.acme.app, task)
    with tell.progress("Waiting until the shop has refunded and has not answered yet"):
        _wait_for_refund(scene, run)
    processes.kill("worker")
    tell.says("SIGKILL. The worker never hears that the refund was made.")
    processes.start_again("worker")
    with tell.progress("Another worker takes the step up, once the dead one's lease is over"):
        done = running.follow(scene.acme.app, run, Narrator.silent())
    tell.quotes("The answer", answer_of(done)["text"])
    log = scene.orders.log(run)
    tell.says(f"The shop's log of this run: {', '.join(log)}")
    tell.holds("The step was tried again, under the same Idempotency-Key.", len(log) > 1)
    refunded_once(scene, done, order, 2_000)


def _wait_for_refund(scene: Scene, run: str) -> None:
    deadline = time.monotonic() + running.RUN_SECONDS
    while not scene.orders.refunds(run):
        if time.monotonic() > deadline:
            raise DidNotHold(f"The run {run} never came to its refund.")
        time.sleep(0.02)
