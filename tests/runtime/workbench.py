"""The only place for what the runtime's tests do again and again at Dave's refund desk."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import msgspec
from builders import SMALL_REFUNDS, Desk
from world import calls, says

from audit.queries import entries
from governance import grants, policy_sets
from governance.models import Approval
from governance.policies import DEFAULT_POLICY
from runtime import agents, toolbox
from runtime.models import Run, RunState, Tool
from runtime.queries import steps_of
from runtime.toolbox import Definition

SMALL, LARGE = 2_500, 12_900
LOOKING = ("look_up_order", {"order_id": "1042"})


def refund(amount: int = SMALL) -> tuple[str, dict[str, Any]]:
    """A proposal to refund the order 1042."""
    return ("refund_order", {"order_id": "1042", "amount_cents": amount})


def allow_small_refunds(desk: Desk) -> Desk:
    """Refunds of up to 50.00 run unattended."""
    text = DEFAULT_POLICY + SMALL_REFUNDS
    policy_sets.save(text, tools=toolbox.schemas, by=desk.cast.alice, now=desk.now)
    return desk


def open_the_till(desk: Desk) -> None:
    """Small refunds run unattended, and tools that do not answer are waited for for a second."""
    redefine(desk, "look_up_order", timeout_seconds=1)
    redefine(desk, "refund_order", timeout_seconds=1)
    allow_small_refunds(desk)


def hold_a_refund(desk: Desk) -> None:
    """A large refund waits for a reviewer."""
    allow_small_refunds(desk)
    assert propose(desk, refund(LARGE)).state == RunState.HELD


def forbid_refunds(desk: Desk) -> None:
    """No refund at all, from now on."""
    forbidding = '@id("no-refunds") forbid (principal, action, resource == Tool::"refund_order");'
    text = DEFAULT_POLICY + forbidding
    policy_sets.save(text, tools=toolbox.schemas, by=desk.cast.alice, now=desk.now)


def redefine(desk: Desk, slug: str, **changes: Any) -> Tool:
    """Give a tool another definition in some of its parts."""
    tool = Tool.objects.get(slug=slug)
    names = [name for name in Definition.__struct_fields__ if name != "headers"]
    definition = Definition(**{name: getattr(tool, name) for name in names})
    changed = msgspec.structs.replace(definition, **changes)
    return toolbox.change(tool, changed, by=desk.cast.dave, now=desk.now)


def equip(desk: Desk, *definitions: Definition, **parts: Any) -> Desk:
    """Add tools, grant them, and publish a version that has them beside the first two."""
    for definition in definitions:
        tool = toolbox.add(definition, by=desk.cast.dave, now=desk.now)
        grants.grant("refund-desk", tool, by=desk.cast.alice)
    publish(desk, tools=["look_up_order", "refund_order", *(d.slug for d in definitions)], **parts)
    return desk


def publish(desk: Desk, **parts: Any) -> Any:
    """A new version of the agent, like the first but for `parts`."""
    definition = {
        "instructions": "Answer from the handbook.",
        "route": "answers",
        "tools": ["look_up_order", "refund_order"],
        "collections": ["handbook"],
        "limits_": {"steps": 12},
        "answer_schema": None,
        "by": desk.cast.dave,
        "now": desk.now,
    }
    return agents.publish_version(desk.agent, **{**definition, **parts})


def propose(desk: Desk, *proposals: tuple[str, Any], then: str = "Done.") -> Run:
    """A run whose model makes the proposals in one turn and then speaks; until it rests."""
    return desk.work(desk.ask("Please help.", calls(*proposals), says(then)))


def outcomes(run: Run) -> list[tuple[str, str | None]]:
    """The state and error code of each step."""
    return [(step.state, step.error_code) for step in steps_of(run)]


def kinds(run: Run) -> list[str]:
    """The kinds of the run's entries, in the order in which they were recorded."""
    return [entry.kind for entry in entries(correlation=run.pk).reverse()]


def told(desk: Desk) -> list[dict[str, Any]]:
    """What the model was last told of its proposals."""
    messages = desk.world.asked[-1]["messages"]
    return [json.loads(m["content"]) for m in messages if m["role"] == "tool"]


def error_told(desk: Desk) -> dict[str, str]:
    """The last thing that the model was told, where that is an error."""
    return told(desk)[-1]["error"]


def approval_of(run: Run) -> Approval:
    """The approval that the run waits for, or waited for last."""
    return Approval.objects.filter(run=run.pk).order_by("-created_at", "-id")[0]


def answering(value: Any, status: int = 200, **headers: str) -> Callable[[Any], bool]:
    """A tool that answers so, whatever it is asked."""

    def reply(request: BaseHTTPRequestHandler) -> bool:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        request.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            request.send_header(name, text)
        request.end_headers()
        request.wfile.write(data)
        return True

    return reply


class Listening:
    """A tool that notes what it is asked: method, target and headers, before it answers."""

    def __init__(self, *replies: Callable[[Any], bool] | None) -> None:
        self.replies = list(replies) or [None]
        self.targets: list[str] = []
        self.headers: list[dict[str, str]] = []

    @property
    def keys(self) -> list[str]:
        """The idempotency keys that came."""
        return [headers["idempotency-key"] for headers in self.headers]

    def __call__(self, request: BaseHTTPRequestHandler) -> bool:
        self.targets.append(f"{request.command} {request.path}")
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply(request) if reply else False


def hanging(request: BaseHTTPRequestHandler) -> bool:
    """A tool that does not answer within a second, and then cuts the line."""
    time.sleep(1.4)
    request.close_connection = True
    return True
