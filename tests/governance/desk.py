"""The only place for the refund desk of the governance tests: an agent with two tools."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import pytest
from cast import NOON, Cast
from django.db import connection, transaction
from stage import SETS

from audit.errors import Problem
from audit.ids import new_id
from governance import approvals, decisions, grants, policy_sets
from governance.decisions import Decision, Held
from governance.intents import UseTool
from governance.models import Approval, PolicySet
from governance.resources import Resource
from governance.verdicts import Authors
from runtime.models import Tool
from tenants import isolation
from tenants.principals import Principal

TOOLS: Mapping[str, dict[str, Any]] = {
    "look_up_order": {"type": "object", "properties": {"order_id": {"type": "string"}}},
    "refund_order": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "amount": {"type": "integer"}},
    },
}
EFFECTS = {"look_up_order": "read", "refund_order": "write"}


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """acme's agent refund-desk: written by Dave, asked by Robo, granted a read and a write."""

    acme: Cast
    robo: Principal
    tools: dict[str, Tool]
    run: str
    now: datetime

    @property
    def tool(self) -> Tool:
        return self.tools["refund_order"]

    @property
    def authors(self) -> Authors:
        return Authors(agent=self.acme.dave.id, version=self.acme.dave.id)

    def refund(self, **changes: Any) -> UseTool:
        return self._intent("refund_order", {"order_id": "A1", "amount": 9000}, 2, changes)

    def lookup(self, **changes: Any) -> UseTool:
        return self._intent("look_up_order", {"order_id": "A1"}, 1, changes)

    def _intent(
        self, tool: str, arguments: dict[str, Any], step: int, changes: dict[str, Any]
    ) -> UseTool:
        values: dict[str, Any] = {
            "tenant": "acme",
            "principal_kind": "agent",
            "principal": "refund-desk",
            "agent_version": "3",
            "resource": tool,
            "arguments": arguments,
            "run": self.run,
            "step": step,
        }
        return UseTool(**(values | changes))

    def resource_of(self, intent: UseTool) -> Resource:
        return Resource(
            kind="Tool",
            slug=intent.resource,
            pk=str(self.tools[intent.resource].pk),
            attributes={"effect": EFFECTS[intent.resource], "tags": []},
        )

    def decide(self, intent: UseTool, **changes: Any) -> Decision:
        values: dict[str, Any] = {
            "principal": self.robo,
            "resource": self.resource_of(intent),
            "authors": self.authors,
            "now": self.now,
        }
        # Durable would be refused inside of a test's transaction; this is the caller's commit.
        with transaction.atomic():
            return decisions.decide(intent, **(values | changes))

    def hold(self, intent: UseTool | None = None, **changes: Any) -> Approval:
        decision = self.decide(intent or self.refund(), **changes)
        assert isinstance(decision, Held)
        return decision.approval

    def approve(self, approval: Approval, **changes: Any) -> Approval:
        values: dict[str, Any] = {"by": self.acme.bob, "now": self.now}
        return approvals.approve(approval, **(values | changes))

    def save(self, text: str, **changes: Any) -> PolicySet:
        values: dict[str, Any] = {"tools": lambda: TOOLS, "by": self.acme.alice, "now": self.now}
        return policy_sets.save(text, **(values | changes))


def furnish(acme: Cast, now: datetime) -> Desk:
    """Policies, two tools and their grants, in the tenant that is acting."""
    policy_sets.begin(now)
    policy_sets.refit(tools=lambda: TOOLS, by=acme.alice, now=now)
    for slug, parameters in TOOLS.items():
        tool = Tool.objects.create(
            slug=slug,
            description=slug,
            method="POST",
            url="https://orders.test/",
            parameters=parameters,
            effect=EFFECTS[slug],
            created_at=now,
        )
        grants.grant("refund-desk", tool, by=acme.alice)
    return find(acme, now)


def find(acme: Cast, now: datetime) -> Desk:
    """The refund desk that stands already, for another run."""
    robo = Principal(kind="client_app", id="robo", name="Robo", tenant="acme")
    tools = {tool.slug: tool for tool in Tool.objects.all()}
    return Desk(acme=acme, robo=robo, tools=tools, run=str(new_id()), now=now)


def _granted_tools(request: pytest.FixtureRequest) -> None:
    acme = request.getfixturevalue("casts")["acme"]
    with isolation.acting_for(acme.tenant):
        furnish(acme, NOON)


SETS["granted_tools"] = _granted_tools


def in_acme(desk: Desk, act: Callable[[], Any]) -> Any:
    """What `act` returns, or the problem that it raises, on a connection of its own thread's."""
    try:
        with isolation.acting_for(desk.acme.tenant):
            return act()
    except Problem as refused:
        return refused
    finally:
        connection.close()


def at_once(desk: Desk, *acts: Callable[[], Any]) -> list[Any]:
    """Each act on a connection of its own, all starting together; what each returned or raised."""
    results: list[Any] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def run(position: int, act: Callable[[], Any]) -> None:
        start.wait(timeout=10)
        results[position] = in_acme(desk, act)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
