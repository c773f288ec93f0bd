"""A client's own model call that a policy lets go only once the ledger has it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import model_api
import pytest
from django.db import connection, transaction
from model_api import Upstream
from own_logs import MADE, OwnLog, ask, direct, make_log
from own_losses import sequence
from own_places import Ground, WitnessProcess, key_of
from psycopg import sql
from psycopg_pool import AsyncConnectionPool
from pytest_django import DjangoDbBlocker

from audit import sequencer
from audit.bodies import Subject
from audit.group_commit import GroupCommit
from audit.guard import Guard
from audit.management.commands.run_sequencer import connection_parameters
from audit.states import LedgerBehind
from gateway import connections
from governance import policies
from governance.resources import Resource
from runtime import direct_calls
from runtime.direct_calls import Call, CallDenied, DirectCalls
from runtime.snapshots import Offered, Snapshot
from tenants.principals import Principal

REQUEST: dict[str, Any] = {"model": "fast", "messages": [{"role": "user", "content": "Hello."}]}
POLICY = '@id("asks") @record("{state}") permit(principal, action, resource);'
ROBO = Principal(kind="client_app", id="0123456789abcdef", name="robo", tenant="acme")
KINDS = "SELECT kind FROM audit.entry ORDER BY recorded_at, id"


@pytest.fixture
def log(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OwnLog]:
    """A ledger of this test's own, which other connections see."""
    with django_db_blocker.unblock():
        with transaction.atomic():
            made = make_log()
        every = sequencer.outstanding
        monkeypatch.setattr(
            sequencer, "outstanding", lambda raw: [log for log in every(raw) if log in MADE]
        )
        yield made
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(made.role)))


def asked(upstream: Upstream, log: OwnLog, state: str, *witnesses: str) -> Call:
    """Robo's call of a route, where the policies ask for `state`."""
    route = Offered(
        model_api.route(model_api.endpoint(upstream)),
        Resource(kind="Route", slug="fast", pk=str(uuid4()), attributes={}),
        datetime.now(UTC),
    )
    compiled = policies.compile(POLICY.replace("{state}", state), policies.schema_for({}))
    snapshot = Snapshot(
        tenant="acme",
        role=log.role,
        version=1,
        keys={},
        subjects={ROBO.actor.person: Subject(uuid4(), bytes(32))},
        policies=compiled,
        routes={"fast": route},
        agents={},
        witnesses=witnesses,
    )
    return direct_calls.ask(
        REQUEST, route=route, principal=ROBO, snapshot=snapshot, correlation=uuid4()
    )


@contextlib.asynccontextmanager
async def calling(longest: float) -> AsyncIterator[tuple[DirectCalls, Upstream]]:
    upstream = Upstream()
    runner = await model_api.serve(upstream)
    async with AsyncConnectionPool(
        kwargs=connection_parameters(), min_size=1, max_size=3, open=False, timeout=5
    ) as pool:
        wait = timedelta(seconds=longest)
        yield DirectCalls(GroupCommit(pool, beside="SELECT 1"), longest_wait=wait), upstream
    await connections.close()
    await runner.cleanup()


def kinds(log: OwnLog) -> list[str]:
    with direct() as raw:
        return [kind for (kind,) in ask(raw, log, KINDS)]


def start_the_sequencer(folder: Path) -> None:
    with direct() as raw:
        sequence(raw, Guard(folder / "guard"))


async def test_the_model_is_asked_once_the_call_is_sealed(
    log: OwnLog, tmp_path: Path, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    async with calling(longest=20) as (calls, upstream):
        begun = await calls.admit(asked(upstream, log, "sealed"))
        answering = asyncio.create_task(begun.complete(REQUEST))
        await asyncio.sleep(0.3)
        assert upstream.bodies == []
        assert not answering.done()
        await asyncio.to_thread(start_the_sequencer, tmp_path)
        await answering
        assert len(upstream.bodies) == 1
    assert kinds(log) == ["intent.decided", "effect.begun", "model.called", "effect.ended"]


@pytest.mark.parametrize("way", ["whole", "stream", "embed"])
async def test_while_the_sequencer_is_stopped_no_model_is_asked(
    log: OwnLog, settings: Any, way: str
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    async with calling(longest=0.2) as (calls, upstream):
        begun = await calls.admit(asked(upstream, log, "sealed"))
        ways: dict[str, Any] = {
            "whole": lambda: begun.complete(REQUEST),
            "stream": lambda: anext(begun.stream(REQUEST)),
            "embed": lambda: begun.embed(["Hello."]),
        }
        with pytest.raises(LedgerBehind) as late:
            await ways[way]()
        assert late.value.status == 503
        assert upstream.bodies == []
    assert kinds(log) == ["intent.decided", "effect.begun", "effect.failed"]


async def test_a_client_that_goes_away_while_it_waits_leaves_a_call_that_certainly_failed(
    log: OwnLog,
) -> None:
    async with calling(longest=20) as (calls, upstream):
        begun = await calls.admit(asked(upstream, log, "sealed"))
        answering = asyncio.create_task(begun.complete(REQUEST))
        await asyncio.sleep(0.1)
        answering.cancel()
        await asyncio.wait([answering])
        await calls.aclose()
        assert upstream.bodies == []
    assert kinds(log)[-1] == "effect.failed"


async def test_a_call_that_is_to_be_cosigned_waits_for_the_witness(
    log: OwnLog, tmp_path: Path, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    witness = WitnessProcess(tmp_path, key_of(log))
    keys = [str(key) for key in witness.keys]

    def start_the_witness() -> None:
        witness.start()
        with direct() as raw:
            Ground(raw, log, tmp_path).rounds(witness.place(log)).go()

    async with calling(longest=30) as (calls, upstream):
        begun = await calls.admit(asked(upstream, log, "cosigned", *keys))
        answering = asyncio.create_task(begun.complete(REQUEST))
        await asyncio.to_thread(start_the_sequencer, tmp_path)
        await asyncio.sleep(0.6)
        assert upstream.bodies == []
        await asyncio.to_thread(start_the_witness)
        await answering
        assert len(upstream.bodies) == 1
    witness.kill()


async def test_without_a_witness_a_call_that_is_to_be_cosigned_is_denied(log: OwnLog) -> None:
    async with calling(longest=1) as (calls, upstream):
        with pytest.raises(CallDenied, match="no witness is configured"):
            await calls.admit(asked(upstream, log, "cosigned"))
    assert kinds(log) == ["intent.decided"]
