"""The only place for parts 3 and 4: refunds that run, wait, are approved and are rejected."""

from __future__ import annotations

from typing import Any

from demo import running
from demo.narrator import Narrator
from demo.scene import Scene, answer_of, is_held, refunded_once, short

SMALL = (
    "The cooking pot of order {order} arrived dented. The customer keeps it and asks for 25.00 EUR"
    " back. Please refund it."
)
LARGE = (
    "The tent of order {order} arrived with a torn flysheet. The customer keeps it for 374.70 EUR."
    " Please refund that amount."
)
TOO_LARGE = (
    "Please refund 1,890.00 EUR for order {order} because the customer has changed her mind."
)
REASON = (
    "Refunds above 500.00 EUR are for the Customer Care Lead, and the return window of order"
    " {order} is over."
)
WAITING = "Please refund 94.75 EUR for order {order} because a buckle of the backpack is broken."
WHY = {
    "unattended_not_permitted": "no policy permits it without a reviewer",
    "unattended_forbidden": "a policy asks for a reviewer",
}
SHOWN = 4


def a_small_refund_goes_through(scene: Scene) -> None:
    """3a. Policy lets a small refund run without a person."""
    tell = scene.narrator
    tell.part(3, "The agent refunds: a small amount unattended, a large one is held")
    order = scene.orders.number("1042")
    run = running.ask(scene.acme.app, SMALL.format(order=order), tell)
    tell.quotes("The answer", answer_of(run)["text"])
    refunded_once(scene, run, order, 2_500)


def a_large_refund_is_held_and_approved(scene: Scene) -> str:
    """3b and 4a. A large one waits for a reviewer; the agent's author is none. Returns the run."""
    tell, reviewer = scene.narrator, scene.acme["Bob"]
    order = scene.orders.number("1043")
    run = running.ask(scene.acme.app, LARGE.format(order=order), tell)
    is_held(scene, run)
    tell.part(4, "The reviewer decides")
    approval = reviewer.get(f"/approvals/{run['approval']}")
    _show(approval, tell)
    tell.holds(
        f"The approval is for exactly order {order} and 374.70 EUR.",
        approval["arguments"]["order_id"] == order
        and approval["arguments"]["amount_cents"] == 37_470,
        otherwise=str(approval["arguments"]),
    )
    tell.holds("It shows what led to it.", len(approval["evidence"]) > 1)
    _author_is_refused(scene, approval)
    reviewer.post(f"/approvals/{approval['id']}/votes", {"verdict": "approve"})
    tell.says("Bob approves. The run goes on in the worker.")
    done = running.follow(
        scene.acme.app, run["id"], tell, after=approval["step"] - 1, leaving="held"
    )
    tell.quotes("The answer", answer_of(done)["text"])
    refunded_once(scene, done, order, 37_470)
    return str(run["id"])


def _show(approval: dict[str, Any], tell: Narrator) -> None:
    why = f"{WHY[approval['code']]} ({approval['code']}, {', '.join(approval['reasons'])})"
    arguments = ", ".join(f"{k} = {v}" for k, v in approval["arguments"].items())
    rows = [["wants", f"{approval['resource']}: {arguments}"], ["held because", why]]
    evidence = approval["evidence"]
    rows += [[e["kind"], f"{e['title']}: {short(e['text'])}"] for e in evidence[:SHOWN]]
    tell.lists(rows)
    if len(evidence) > SHOWN:
        tell.says(f"  and {len(evidence) - SHOWN} more passages.")


def _author_is_refused(scene: Scene, approval: dict[str, Any]) -> None:
    """Dave is a reviewer too, so that only his being the author stands in his way."""
    path = f"/approvals/{approval['id']}/votes"
    code, detail = scene.acme["Dave"].refusal(path, {"verdict": "approve"})
    scene.narrator.holds(
        "Dave, who wrote the agent, can't approve what it proposes.",
        code == "author_cannot_vote",
        otherwise=detail,
    )


def another_one_is_rejected(scene: Scene) -> None:
    """4b. A rejection reaches the agent with its reason."""
    tell = scene.narrator
    order = scene.orders.number("1044")
    run = running.ask(scene.acme.app, TOO_LARGE.format(order=order), tell)
    is_held(scene, run)
    approval = scene.acme["Bob"].get(f"/approvals/{run['approval']}")
    reason = REASON.format(order=order)
    vote = {"verdict": "reject", "reason": reason}
    scene.acme["Bob"].post(f"/approvals/{approval['id']}/votes", vote)
    tell.says(f"Bob rejects: {reason}")
    done = running.follow(
        scene.acme.app, run["id"], tell, after=approval["step"] - 1, leaving="held"
    )
    answer = answer_of(done)["text"]
    tell.quotes("The answer", answer)
    tell.holds("No refund was made.", scene.orders.refunds(done["id"]) == 0)
    words = ("reject", "not made", "not been made", "declin", "could not", "can't", "unable")
    said = any(word in answer.lower() for word in words)
    tell.holds("The agent says that it was not made.", said, otherwise=answer)


def leave_one_waiting(scene: Scene) -> None:
    """A held refund for whoever opens the console afterwards."""
    task = WAITING.format(order=scene.orders.number("1040"))
    running.follow(scene.acme.app, running.give(scene.acme.app, task), Narrator.silent())
