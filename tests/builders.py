"""The only place that furnishes a tenant for tests: models, a collection, tools and an agent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import committed
import msgspec
import pytest
from cast import NOON, Cast
from django.test import override_settings
from stage import SETS
from world import World

from gateway import accounts, endpoints, routes
from governance import grants
from retrieval import collections, parsing, parsing_child
from retrieval.models import Collection, Document
from runtime import agents, ingesting, runs, toolbox
from runtime.models import Agent, Run
from runtime.toolbox import Definition
from tenants import isolation
from tenants.principals import Principal

HANDBOOK = b"""# Returns handbook

## Refund windows

Unused goods may be returned within 30 days of delivery. Electronics have a window of 14 days.

## Refund limits

Refunds of more than 50.00 need the approval of a supervisor. Gift cards are never refunded.
"""
LOOK_UP = Definition(
    slug="look_up_order",
    description="Look up an order by its number.",
    method="GET",
    url="{address}/orders/{order_id}",
    parameters={
        "type": "object",
        "properties": {"order_id": {"type": "string"}},
        "required": ["order_id"],
        "additionalProperties": False,
    },
    effect="read",
)
REFUND = Definition(
    slug="refund_order",
    description="Refund an order, in cents.",
    method="POST",
    url="{address}/refunds",
    parameters={
        "type": "object",
        "properties": {
            "order_id": {"type": "string"},
            "amount_cents": {"type": "integer", "minimum": 1},
        },
        "required": ["order_id", "amount_cents"],
        "additionalProperties": False,
    },
    effect="write",
    repeatable=True,
    timeout_seconds=1,
)
SMALL_REFUNDS = """
@id("small-refunds-run-unattended")
permit (principal == Agent::"refund-desk",
        action == Action::"invoke_unattended", resource == Tool::"refund_order")
when { context.arguments has refund_order.amount_cents
       && context.arguments.refund_order.amount_cents <= 5000 };
"""


class Desk(msgspec.Struct):
    """acme's refund desk: an agent by Dave, and the world that it acts on."""

    cast: Cast
    agent: Agent
    collection: Collection
    world: World
    now: datetime

    def ask(self, task: str, *script: Any) -> Run:
        """Give the agent a task as Robo, with what the model will say."""
        self.world.script[:] = script
        return runs.start(task, agent=self.agent, principal=self.cast.robo, now=self.now)

    def work(self, run: Run, *, holder: str = "worker") -> Run:
        """Take steps until the run rests."""
        for _ in range(60):
            if not runs.take_step(run.pk, holder=holder, now=self.now):
                break
        run.refresh_from_db()
        return run

    def later(self, **delta: int) -> datetime:
        """A moment after now."""
        return self.now + timedelta(**delta)


def furnish(cast: Cast, world: World, now: datetime) -> Desk:
    """Everything that a governed run needs, made through the domain's own verbs."""
    alice, dave = cast.alice, cast.dave
    scripted = accounts.add(
        "scripted",
        kind="openai",
        base_url=f"{world.address}/v1",
        timeout_seconds=1,
        by=alice,
        now=now,
    )
    offline = accounts.add("offline", kind="offline", by=alice, now=now)
    chat = endpoints.add(
        "scripted-chat",
        provider=scripted,
        model="scripted",
        purpose="chat",
        input_micros_per_million=1_000_000,
        output_micros_per_million=2_000_000,
        by=alice,
        now=now,
    )
    vectors = endpoints.add(
        "wordllama",
        provider=offline,
        model="wordllama-256",
        purpose="embeddings",
        dimensions=256,
        by=alice,
        now=now,
    )
    answers = routes.add("answers", purpose="chat", endpoints=[chat], by=alice, now=now)
    embed = routes.add("embed", purpose="embeddings", endpoints=[vectors], by=alice, now=now)
    handbook = collections.create(
        "handbook",
        name="Returns handbook",
        description="Rules for returns and refunds.",
        embedding_route="embed",
        by=alice,
        now=now,
    )
    tools = [
        toolbox.add(
            msgspec.structs.replace(d, url=d.url.replace("{address}", world.address)),
            by=dave,
            now=now,
        )
        for d in (LOOK_UP, REFUND)
    ]
    agent = agents.create("refund-desk", name="Refund desk", by=dave, now=now)
    agents.publish_version(
        agent,
        instructions="Answer from the handbook. Cite passages as [P1].",
        route="answers",
        tools=[tool.slug for tool in tools],
        collections=["handbook"],
        limits_={"steps": 12},
        answer_schema=None,
        by=dave,
        now=now,
    )
    for row in (answers, embed, handbook, *tools):
        grants.grant("refund-desk", row, by=alice)
    return Desk(cast, agent, handbook, world, now)


def desk_of(cast: Cast, world: World, now: datetime) -> Desk:
    """The refund desk that stands in the acting tenant."""
    agent = Agent.objects.get(slug="refund-desk")
    return Desk(cast, agent, Collection.objects.get(slug="handbook"), world, now)


def furnish_committed(cast: Cast, world: World, now: datetime) -> Desk:
    """The same in a tenant that has nothing: made once a session, and put back from then on."""
    name = f"desk of {now.date()}"
    committed.furnish(name, cast.tenant, lambda: furnish(cast, world, now))
    return desk_of(cast, world, now)


def stock(collection: Collection, *, by: Principal, now: datetime) -> Document:
    """Put the handbook in; parsed without a process of its own, which takes time."""
    made = ingesting.upload(collection, "returns-handbook.md", HANDBOOK, by=by, now=now)
    with mock.patch.object(parsing, "parse", parsing_child.parse):
        ingesting.ingest(made.pk, now=now)
    return made


def furnished_desk(request: pytest.FixtureRequest, now: datetime = NOON) -> Desk:
    """acme's refund desk, made long before the test."""
    cast, outside = request.getfixturevalue("casts")["acme"], request.getfixturevalue("outside")
    outside.world = World()
    outside.world.address = outside.address
    with isolation.acting_for(cast.tenant), override_settings(ALLOW_PRIVATE_ADDRESSES=True):
        return furnish(cast, outside.world, now)


def after(
    request: pytest.FixtureRequest, *acts: Callable[[Desk], object], now: datetime = NOON
) -> None:
    """acme's refund desk, and what happened there long before the test."""
    desk = furnished_desk(request, now)
    with isolation.acting_for(desk.cast.tenant), override_settings(ALLOW_PRIVATE_ADDRESSES=True):
        for act in acts:
            act(desk)


def stock_up(desk: Desk) -> None:
    """The handbook comes into the desk's collection."""
    stock(desk.collection, by=desk.cast.alice, now=desk.now)


SETS["furnished"] = furnished_desk
SETS["stocked"] = lambda request: after(request, stock_up)


@pytest.fixture
def desk(acme: Cast, world: World, now: datetime, furnished: None) -> Desk:
    """acme's refund desk; the test is rolled back."""
    return desk_of(acme, world, now)


@pytest.fixture
def stocked_desk(desk: Desk, stocked: None) -> Desk:
    """acme's refund desk with the handbook in its collection."""
    return desk
