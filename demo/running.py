"""The only place where the demo gives the agent a task, and follows its run as it happens."""

from __future__ import annotations

import time
from typing import Any

from demo.client import PAUSE, Client
from demo.desk import AGENT
from demo.narrator import DidNotHold, Narrator

RESTING = ("held", "completed", "failed", "cancelled")
RUN_SECONDS = 90
OUTCOMES = {
    "held": "held for a reviewer",
    "denied": "denied",
    "refused": "not understood",
    "failed": "failed",
    "unknown": "unknown whether it happened",
}
ENDED = {"call_model": "answered", "search_collection": "found passages", "use_tool": "done"}


def give(app: Client, task: str, *, person: str | None = None) -> str:
    """Start a run, for a customer if `person` names one, and return its id. Raises Refused."""
    wanted = {"task": task, "on_behalf_of": person}
    run: dict[str, Any] = app.post(f"/agents/{AGENT}/runs", wanted)
    return str(run["id"])


def ask(app: Client, task: str, narrator: Narrator, *, person: str | None = None) -> dict[str, Any]:
    """Start a run and tell its steps until it rests. Raises Refused, DidNotHold."""
    narrator.quotes("The task", task)
    return follow(app, give(app, task, person=person), narrator)


def follow(
    app: Client, run: str, narrator: Narrator, *, after: int = 0, leaving: str = ""
) -> dict[str, Any]:
    """Tell the run's steps after step `after`, as the event stream brings them, until it rests.

    `leaving` is the state of rest that it is about to leave. Raises Refused, DidNotHold.
    """
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        for name, data in app.events(f"/runs/{run}/events"):
            if name == "step" and data["number"] > after and data["state"] != "begun":
                if data["state"] != leaving:
                    _tell(data, narrator)
                    after = data["number"]
            elif name == "run" and data["state"] in RESTING and data["state"] != leaving:
                found: dict[str, Any] = data
                return found
            if time.monotonic() > deadline:
                break
        time.sleep(PAUSE)  # the stream ended early
    raise DidNotHold(f"The run {run} did not come to rest within {RUN_SECONDS} seconds.")


def _tell(step: dict[str, Any], narrator: Narrator) -> None:
    outcome = OUTCOMES.get(step["state"]) or ENDED.get(step["action"], "done")
    if step["action"] == "call_model" and (step["turn"] or {}).get("calls"):
        outcome = f"proposes {step['turn']['calls'][0]['name']}"
    code = f" ({step['error_code']})" if step["error_code"] else ""
    narrator.does(_named(step), f"{outcome}{code}")


def _named(step: dict[str, Any]) -> str:
    """The step as a person would write it: `refund_order(order_id=1042, ...)`."""
    if step["action"] == "use_tool":
        arguments = step["intent"].get("arguments", {})
        return f"{step['resource']}({', '.join(f'{k}={v}' for k, v in arguments.items())})"
    names = {"call_model": "model", "search_collection": "search"}
    return f"{names.get(step['action'], step['action'])} {step['resource']}"
