from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from builders import LOOK_UP, Desk, furnish
from cast import Cast
from django.db import DatabaseError, InternalError, connection, transaction
from workbench import equip, publish
from world import World

from audit.queries import entries
from retrieval import collections
from runtime import agents, limits
from runtime.agents import AgentInvalid, AgentTaken
from runtime.limits import LimitsInvalid
from runtime.models import AgentVersion
from runtime.queries import AgentUnknown, access_agent, latest_version
from tenants import isolation
from tenants.principals import NotPermitted


def test_a_builder_is_the_author_of_what_he_creates(acme: Cast, now: Any) -> None:
    agent = agents.create("clerk", name="Clerk", by=acme.dave, now=now)
    assert str(agent.author) == acme.dave.id
    (entry,) = entries(kind="agent.created")
    assert entry.event == {"agent": "clerk", "author": acme.dave.id}
    with pytest.raises(AgentUnknown):
        latest_version(agent)


def test_reviewers_auditors_and_keys_create_no_agents(acme: Cast, now: Any) -> None:
    for principal in (acme.bob, acme.carol, acme.robo):
        with pytest.raises(NotPermitted):
            agents.create("clerk", name="Clerk", by=principal, now=now)


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("Clerk", "Clerk"),
        ("clerk\n", "x"),
        ("", "x"),
        ("clerk", ""),
        ("clerk", "a\0b"),
        ("c", "x" * 201),
    ],
)
def test_an_agent_needs_a_slug_and_a_name(acme: Cast, now: Any, slug: str, name: str) -> None:
    with pytest.raises(AgentInvalid):
        agents.create(slug, name=name, by=acme.dave, now=now)


def test_one_slug_is_one_agent(desk: Desk) -> None:
    with pytest.raises(AgentTaken):
        agents.create("refund-desk", name="Again", by=desk.cast.dave, now=desk.now)
    assert access_agent("refund-desk", principal=desk.cast.bob) == desk.agent


def test_versions_are_numbered_and_the_ledger_commits_to_each(desk: Desk) -> None:
    version = publish(desk)
    assert (version.number, latest_version(desk.agent)) == (2, version)
    assert entries(kind="agent.version_published")[0].event == {
        "agent": "refund-desk",
        "version": 2,
        "sha256": version.sha256,
    }
    assert publish(desk).sha256 == version.sha256
    assert publish(desk, instructions="Else.").sha256 != version.sha256


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"route": "nowhere"}, "no chat route"),
        ({"route": "embed"}, "no chat route"),
        ({"tools": ["no_such"]}, "no tool 'no_such'"),
        ({"tools": ["refund_order", "refund_order"]}, "named twice"),
        ({"collections": ["no-such"]}, "no collection 'no-such'"),
        ({"answer_schema": {"type": "objekt"}}, "no JSON Schema"),
        ({"answer_schema": {"$ref": "https://json.example/x"}}, "outside"),
        ({"answer_schema": {"type": "integer", "minimum": 0.5}}, "float"),
        ({"instructions": "a\0b"}, "NUL"),
    ],
)
def test_a_version_that_names_what_is_not_there_is_refused(
    desk: Desk, parts: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AgentInvalid, match=reason):
        publish(desk, **parts)
    assert desk.agent.versions.count() == 1


def test_a_function_name_is_one_and_not_too_long(desk: Desk) -> None:
    """The chat-completions protocol knows functions by names of at most 64 letters."""
    long = "h" * 60
    by, now = desk.cast.alice, desk.now
    collections.create(long, name="Long", description="", embedding_route="embed", by=by, now=now)
    with pytest.raises(AgentInvalid, match="64 letters"):
        publish(desk, collections=[long])
    search = msgspec.structs.replace(
        LOOK_UP, slug="search_handbook", url=f"{desk.world.address}/orders/{{order_id}}"
    )
    with pytest.raises(AgentInvalid, match="under one name"):
        equip(desk, search)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": -1},
        {"steps": True},
        {"steps": "12"},
        {"steps": 1.5},
        {"tokens": None},
        {"money": 1},
    ],
)
def test_limits_are_whole_numbers_above_zero_and_known(desk: Desk, wrong: dict[str, Any]) -> None:
    with pytest.raises(LimitsInvalid):
        publish(desk, limits_=wrong)


def test_limits_that_are_left_out_have_a_default() -> None:
    assert limits.parse({}).steps == 24
    assert limits.parse({"steps": 3}).seconds == 7 * 24 * 3600


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runtime_agentversion SET instructions = 'Pay everybody.'",
        "UPDATE runtime_agentversion SET number = number + 1",
        "DELETE FROM runtime_agentversion",
        "TRUNCATE runtime_agentversion CASCADE",
        "ALTER TABLE runtime_agentversion DISABLE TRIGGER ALL",
        "DROP TRIGGER agent_versions_are_immutable ON runtime_agentversion",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'END'",
    ],
)
def test_postgresql_itself_refuses_to_change_a_version(desk: Desk, statement: str) -> None:
    with (
        pytest.raises((DatabaseError, InternalError), match=r"never changed|denied|must be owner"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AgentVersion.objects.get().instructions.startswith("Answer from")


def test_a_version_is_not_changed_through_its_model_either(desk: Desk) -> None:
    version = desk.agent.versions.get()
    version.instructions = "Pay everybody."
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        version.save()
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        version.delete()


def test_two_builders_at_once_get_two_numbers(committed_acme: Cast, world: World, now: Any) -> None:
    desk = furnish(committed_acme, world, now)
    barrier, numbers = threading.Barrier(3), []

    def work() -> None:
        try:
            with isolation.acting_for(committed_acme.tenant):
                barrier.wait()
                numbers.extend(publish(desk).number for _ in range(3))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(numbers) == list(range(2, 11))
