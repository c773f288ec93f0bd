"""The only place that tests recording from asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg
import pytest
from django.db import connection
from own_logs import Confided, NoteTaken, OwnLog, ask, direct
from psycopg_pool import AsyncConnectionPool

from audit import bodies
from audit.entries import EntryTooLarge, draft
from audit.events import SYSTEM
from audit.group_commit import GroupCommit, LedgerUnavailable
from audit.ledger import NoLedger
from audit.management.commands.run_sequencer import connection_parameters


@contextlib.asynccontextmanager
async def commits(parameters):
    async with AsyncConnectionPool(
        kwargs=parameters, min_size=1, max_size=3, open=False, timeout=5
    ) as pool:
        yield GroupCommit(pool)


@pytest.fixture
def parameters(committed_log: OwnLog):
    return connection_parameters()


def _recorded(log: OwnLog):
    """(id, transaction) of the log's entries, oldest first."""
    with direct() as raw, raw.transaction():
        raw.execute("SELECT set_config('role', %s, true)", [log.role])
        return raw.execute(
            "SELECT entry.id, entry.xmin::text FROM audit.entry JOIN audit.pending"
            " ON pending.log_id = entry.log_id AND pending.entry_id = entry.id ORDER BY entry.id"
        ).fetchall()


async def test_what_arrives_together_is_committed_together(parameters, committed_log):
    async with commits(parameters) as group:
        made = await asyncio.gather(
            *(
                group.record(committed_log.role, NoteTaken(note="n", number=n), actor=SYSTEM)
                for n in range(50)
            )
        )
    recorded = _recorded(committed_log)
    assert sorted(made) == [id_ for id_, _ in recorded]
    assert len({transaction for _, transaction in recorded}) == 1


async def test_an_entry_is_committed_before_its_id_is_returned(parameters, committed_log):
    async with commits(parameters) as group:
        for number in range(3):
            made = await group.record(
                committed_log.role, NoteTaken(note="n", number=number), actor=SYSTEM
            )
            assert _recorded(committed_log)[-1][0] == made


async def test_two_facts_share_one_commit(parameters, committed_log):
    facts = [draft(NoteTaken(note=note), actor=SYSTEM) for note in ("decided", "reserved")]
    async with commits(parameters) as group:
        made = await group.record_many(committed_log.role, facts)
        assert await group.record_many(committed_log.role, []) == []
    (first, one), (second, other) = _recorded(committed_log)
    assert [first, second] == made
    assert one == other


async def test_what_is_private_is_committed_with_its_entry(parameters, committed_log, erika):
    facts = [
        draft(Confided(topic="t", words=words), actor=SYSTEM, subject=erika)
        for words in ("one", None, "other")
    ]
    async with commits(parameters) as group:
        await group.record_many(committed_log.role, facts)
    with direct() as raw:
        held = ask(raw, committed_log, "SELECT entry_id, subject, sealed FROM audit.body")
    opened = {id_: bodies.open_(sealed, erika, id_) for id_, _, sealed in held}
    words = {id_: body["parts"]["words"]["value"] for id_, body in opened.items()}
    assert words == {facts[0].id: "one", facts[2].id: "other"}
    assert {of for _, of, _ in held} == {erika.id}


async def test_more_than_one_batch_keeps_everything(parameters, committed_log):
    async with commits(parameters) as group:
        notes = (NoteTaken(note="n", number=number) for number in range(2_500))
        made = await asyncio.gather(
            *(group.record(committed_log.role, note, actor=SYSTEM) for note in notes)
        )
    assert len(set(made)) == len(_recorded(committed_log)) == 2_500


async def test_a_role_without_ledger_fails_alone(parameters, committed_log):
    async with commits(parameters) as group:
        answers = await asyncio.gather(
            group.record(committed_log.role, NoteTaken(note="kept"), actor=SYSTEM),
            group.record("nobody_at_all", NoteTaken(note="lost"), actor=SYSTEM),
            return_exceptions=True,
        )
    assert isinstance(answers[1], LedgerUnavailable)
    assert [id_ for id_, _ in _recorded(committed_log)] == answers[:1]


async def test_a_tenant_whose_log_is_missing_is_told_so(parameters, committed_log, monkeypatch):
    member_only = f"{committed_log.role}_2"
    with direct() as raw:
        raw.execute(
            f"CREATE ROLE {member_only} NOLOGIN IN ROLE {connection.settings_dict['NAME']}_tenants"
        )
        raw.execute(f"GRANT {member_only} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE")
        try:
            async with commits(parameters) as group:
                with pytest.raises(NoLedger, match=member_only):
                    await group.record(member_only, NoteTaken(note="whose?"), actor=SYSTEM)
        finally:
            raw.execute(f"DROP ROLE {member_only}")


async def test_a_failed_batch_fails_everybody_in_it_and_records_nothing(
    parameters, committed_log, monkeypatch
):
    monkeypatch.setattr("audit.group_commit.recording", lambda drafts: ("oops", []))
    async with commits(parameters) as group:
        answers = await asyncio.gather(
            *(
                group.record(committed_log.role, NoteTaken(note="n"), actor=SYSTEM)
                for _ in range(5)
            ),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [LedgerUnavailable] * 5
        assert len({id(answer) for answer in answers}) == 5
        monkeypatch.undo()
        await group.record(committed_log.role, NoteTaken(note="after"), actor=SYSTEM)
    assert len(_recorded(committed_log)) == 1


async def test_what_can_not_be_recorded_harms_nobody_else(parameters, committed_log):
    async with commits(parameters) as group:
        answers = await asyncio.gather(
            group.record(committed_log.role, NoteTaken(note="x" * 70_000), actor=SYSTEM),
            group.record(committed_log.role, NoteTaken(note="kept"), actor=SYSTEM),
            return_exceptions=True,
        )
    assert isinstance(answers[0], EntryTooLarge)
    assert [id_ for id_, _ in _recorded(committed_log)] == answers[1:]


async def test_a_waiter_that_goes_away_leaves_the_others_their_commit(parameters, committed_log):
    async with commits(parameters) as group:
        leaver = asyncio.create_task(
            group.record(committed_log.role, NoteTaken(note="left"), actor=SYSTEM)
        )
        stayer = asyncio.create_task(
            group.record(committed_log.role, NoteTaken(note="stayed"), actor=SYSTEM)
        )
        await asyncio.sleep(0)
        leaver.cancel()
        made = await stayer
        await group.aclose()
    assert made in [id_ for id_, _ in _recorded(committed_log)]


async def test_closing_waits_for_what_was_handed_in(parameters, committed_log):
    async with commits(parameters) as group:
        task = asyncio.create_task(
            group.record(committed_log.role, NoteTaken(note="last"), actor=SYSTEM)
        )
        await asyncio.sleep(0)
        await group.aclose()
        assert len(_recorded(committed_log)) == 1
        await task


@contextlib.asynccontextmanager
async def _wire(parameters) -> AsyncIterator[tuple[dict, asyncio.Event]]:
    """A wire to the database, for parameters, that swallows every byte once the event is set."""
    cut = asyncio.Event()
    socket_path = f"{parameters['host']}/.s.PGSQL.{parameters.get('port') or 5432}"

    calls = set()

    async def pump(reader, writer):
        with contextlib.closing(writer):
            while received := await reader.read(65_536):
                if not cut.is_set():
                    writer.write(received)

    async def connect(reader, writer):
        calls.add(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_unix_connection(socket_path)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield parameters | {"host": "127.0.0.1", "port": port, "sslmode": "disable"}, cut
    finally:
        server.close()
        # Cut off, not waited for: an end that the pool was still connecting may never hang up.
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_a_silent_server_holds_nobody_up(parameters, committed_log):
    note = NoteTaken(note="said into the void")
    async with (
        _wire(parameters) as (over_wire, cut),
        AsyncConnectionPool(
            kwargs=over_wire, min_size=2, max_size=2, open=False, timeout=5
        ) as pool,
    ):
        group = GroupCommit(pool, answer_seconds=1)
        await group.record(committed_log.role, note, actor=SYSTEM)
        cut.set()
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(
            *(group.record(committed_log.role, note, actor=SYSTEM) for _ in range(3)),
            return_exceptions=True,
        )
        assert asyncio.get_running_loop().time() - began < 4
        silent = [str(answer).partition(": ")[2] for answer in answers]
        assert silent == ["the database was silent for 1 seconds."] * 3
        cut.clear()
        await _soon(group.record, committed_log.role, note, actor=SYSTEM)
        assert pool.get_stats()["returns_bad"] == 1
    assert len(_recorded(committed_log)) == 2


async def _soon(act, *arguments, **named):
    """Do it again until the ledger can be reached: the pool connects afresh in its own time."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(LedgerUnavailable):
                return await act(*arguments, **named)


async def test_without_a_database_nobody_may_act(committed_log):
    unreachable = {"host": "127.0.0.1", "port": 1, "dbname": "x", "connect_timeout": 1}
    pool = AsyncConnectionPool(
        kwargs=unreachable, min_size=0, max_size=1, open=False, timeout=0.3, reconnect_timeout=0.1
    )
    await pool.open()
    try:
        with pytest.raises(LedgerUnavailable):
            await GroupCommit(pool, answer_seconds=0.3).record(
                "any", NoteTaken(note="x"), actor=SYSTEM
            )
    finally:
        await pool.close()
    with pytest.raises(LedgerUnavailable):
        await GroupCommit(pool).record("any", NoteTaken(note="x"), actor=SYSTEM)


async def test_a_connection_lost_in_the_commit_is_a_failure(parameters, committed_log, monkeypatch):
    async def lost(*_):
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("audit.group_commit._write", lost)
    async with commits(parameters) as group:
        with pytest.raises(LedgerUnavailable, match="closed the connection"):
            await group.record(committed_log.role, NoteTaken(note="x"), actor=SYSTEM)
