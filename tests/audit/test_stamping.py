"""The only place that tests what an entry is given: its times, and its place in its run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from own_logs import NoteTaken, OwnLog, act_as, ask, direct, record_all
from psycopg.errors import (
    CharacterNotInRepertoire,
    CheckViolation,
    InsufficientPrivilege,
    LockNotAvailable,
)
from psycopg_pool import AsyncConnectionPool

from audit import canonical, ledger, proofs, queries, sequencer
from audit.entries import (
    ROW,
    SUPPLIED,
    Draft,
    draft,
    fields_of,
    leaf_of_row,
    recording,
    rfc3339,
)
from audit.events import SYSTEM, Actor
from audit.group_commit import GroupCommit
from audit.ids import new_id
from audit.management.commands.run_sequencer import connection_parameters

STAMPED = f"""
SELECT leaf.leaf_hash, {ROW} FROM audit.entry JOIN audit.log ON log.id = entry.log_id
JOIN audit.leaf ON leaf.log_id = entry.log_id AND leaf.entry_id = entry.id
WHERE entry.id = ANY(%s)
"""  # noqa: S608  (a constant of column names)
IN_PLACE = """
SELECT leaf.correlation, sequence, previous, leaf_hash, recorded_at, id
FROM audit.leaf JOIN audit.entry ON entry.id = leaf.entry_id
WHERE leaf.correlation = ANY(%s) ORDER BY leaf.correlation, sequence
"""

NASTY = ['"', "\\", '\\"', "\\u0041", "</script>", "é", "\u00a0x", "\U0001f600", "ß" * 127, "", "'"]
NASTIER = ["\u007f", "\u0085", "\u2028\u2029", "\x00\x01\x1f\b\f\n\r\t", "\ufeff", "\ufffe", "{}"]
# What an actor may be called: str.isprintable, as audit.entries says it.
NAMES = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=60),
).filter(lambda name: name.isprintable() and len(name.encode()) < 256)
TEXTS = st.one_of(
    st.sampled_from(NASTY + NASTIER), st.text(st.characters(exclude_categories=["Cs"]))
)
RUNS = [None, UUID(int=1), UUID(int=2**128 - 1)]
IDS = st.one_of(st.uuids().map(str), st.just("0123456789abcdef"))
DRAFTS = st.builds(
    Draft,
    id=st.builds(new_id),
    kind=st.sampled_from(["test.made", "a", "a" * 100, "under_score.9"]),
    correlation=st.sampled_from(RUNS),
    actor=st.builds(
        Actor,
        kind=st.sampled_from(["member", "agent", "client_app", "system"]),
        id=NAMES,
        version=st.none() | NAMES,
        on_behalf_of=st.none() | IDS,
        means=st.sampled_from([None, "session", "token", "service_key"]),
    ),
    subject=st.none() | st.uuids(),
    payload=st.dictionaries(
        TEXTS, TEXTS | st.integers(-(2**53) + 1, 2**53 - 1) | st.none() | st.booleans(), max_size=4
    ).map(canonical.encode),
    body=st.none(),
)
WIDEST = Draft(
    id=UUID(int=2**128 - 1),
    kind="k" * 100,
    correlation=RUNS[1],
    actor=Actor("client_app", '"' * 255, "\\" * 255, "f" * 16, "service_key"),
    subject=UUID(int=0),
    payload=canonical.encode({"x": '"\u2028' * 10_000}),
)


def _seal(log: OwnLog) -> None:
    while sequencer.seal(connection.connection, log.id, limit=100):
        pass


def _as_hashed(made: Draft, of: dict, log: OwnLog) -> bytes:
    """The leaf as the contract words it, made by nobody's code but RFC 8785's."""
    actor = {"id": made.actor.id, "kind": made.actor.kind, "means": made.actor.means}
    actor |= {"on_behalf_of": made.actor.on_behalf_of, "version": made.actor.version}
    encoded = canonical.encode(
        {
            "actor": actor,
            "correlation": str(made.correlation) if made.correlation else None,
            "event": {},
            "id": str(made.id),
            "kind": made.kind,
            "log": log.origin,
            "occurred_at": rfc3339(of["occurred_at"]),
            "previous": bytes(of["previous"]).hex() if of["previous"] else None,
            "recorded_at": rfc3339(of["recorded_at"]),
            "sequence": of["sequence"],
            "subject": str(made.subject) if made.subject else None,
        }
    )
    return encoded.replace(b'"event":{}', b'"event":' + made.payload, 1)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drafts=st.lists(DRAFTS, min_size=1, max_size=6))
@example(drafts=[WIDEST])
def test_the_leaf_is_what_the_contract_says_of_the_rows(own_log: OwnLog, drafts: list[Draft]):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(*recording(drafts))
        _seal(own_log)
        cursor.execute(STAMPED, [[made.id for made in drafts]])
        rows = {row[1]: row for row in cursor.fetchall()}
        transaction.set_rollback(True)
    assert len(rows) == len(drafts)
    for made in drafts:
        stamped, *row = rows[made.id]
        leaf = leaf_of_row(row)
        assert leaf == _as_hashed(made, fields_of(row), own_log)
        assert bytes(stamped) == proofs.leaf_hash(leaf)


@pytest.mark.parametrize("name", [*NASTIER, "x" * 255, "ß" * 128, "a\u2028b"])
@pytest.mark.parametrize("field", ["id", "version"])
def test_a_name_that_our_code_would_refuse_is_refused_or_hashed_alike(
    own_log: OwnLog, field: str, name: str
):
    actor = msgspec.structs.replace(SYSTEM, **{field: name})
    made = msgspec.structs.replace(draft(NoteTaken(note="n"), actor=SYSTEM), actor=actor)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(*recording([made]))
    except (DataError, IntegrityError):
        return
    _seal(own_log)
    entry = queries.access_entry(made.id)
    assert entry.actor == actor
    assert entry.leaf.leaf_hash == proofs.leaf_hash(entry.leaf_bytes(own_log.origin))


def test_the_times_are_the_servers(own_log: OwnLog):
    def clock(name: str) -> datetime:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {name}()")
            return cursor.fetchone()[0]

    before = clock("clock_timestamp")
    ids = [ledger.record(NoteTaken(note="n"), actor=SYSTEM) for _ in range(3)]
    after = clock("clock_timestamp")
    made = [queries.access_entry(id_) for id_ in ids]
    assert {entry.occurred_at for entry in made} == {clock("transaction_timestamp")}
    recorded = [entry.recorded_at for entry in made]
    assert before <= recorded[0] <= recorded[1] <= recorded[2] <= after
    assert before - made[0].occurred_at < timedelta(minutes=1)


def test_without_a_correlation_an_entry_has_no_place(own_log: OwnLog):
    made = [ledger.record(NoteTaken(note="n"), actor=SYSTEM) for _ in range(2)]
    _seal(own_log)
    for id_ in made:
        leaf = queries.access_entry(id_).leaf
        assert leaf.correlation is leaf.sequence is leaf.previous is None


def test_within_a_correlation_each_entry_names_the_one_before(own_log: OwnLog):
    one, other = uuid4(), uuid4()
    for run in (one, other, one, one, other):
        ledger.record(NoteTaken(note="n"), actor=SYSTEM, correlation=run)
        if run == other:
            _seal(own_log)  # now within a batch, now across two
    _seal(own_log)
    for run, size in ((one, 3), (other, 2)):
        found = queries.entries(correlation=run).order_by("leaf__sequence")
        of_run = [entry.leaf for entry in found]
        assert [entry.sequence for entry in of_run] == list(range(size))
        assert [entry.previous for entry in of_run[1:]] == [
            entry.leaf_hash for entry in of_run[:-1]
        ]
        assert of_run[0].previous is None


def test_the_same_correlation_in_another_log_begins_at_0(own_log: OwnLog, other_log: OwnLog):
    run = uuid4()
    for log in (own_log, other_log):
        act_as(log.role)
        made = ledger.record(NoteTaken(note="n"), actor=SYSTEM, correlation=run)
        _seal(log)
        assert queries.access_entry(made).leaf.sequence == 0


def _assert_in_place(raw: psycopg.Connection, log: OwnLog, sizes: dict[UUID, int]) -> list[UUID]:
    """Each correlation has so many entries, numbered without a gap, each naming the one before."""
    while sequencer.seal(raw, log.id, limit=150):
        pass
    rows = ask(raw, log, IN_PLACE, list(sizes))
    for run, size in sizes.items():
        of_run = [row for row in rows if row[0] == run]
        assert [sequence for _, sequence, *_ in of_run] == list(range(size))
        for (_, _, _, hashed, recorded, _), (_, _, previous, _, later, _) in pairwise(of_run):
            assert previous == hashed
            assert recorded <= later
        assert not of_run or of_run[0][2] is None
    return [row[5] for row in rows]


def _notes(runs: Sequence[UUID]) -> list[Draft]:
    return [draft(NoteTaken(note="n"), actor=SYSTEM, correlation=run) for run in runs]


def test_writers_at_once_leave_no_gap_and_no_double_in_a_run(committed_log: OwnLog):
    one, other = runs = (UUID(int=1), UUID(int=2))
    begin = threading.Barrier(6)

    def work(number: int) -> None:
        with direct() as raw:
            begin.wait()
            for turn in range(10):
                with raw.transaction(force_rollback=(number + turn) % 5 == 0):
                    record_all(raw, committed_log, _notes([one]))
                record_all(raw, committed_log, _notes([one, other, one]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = 6 * 10 - sum((number + turn) % 5 == 0 for number in range(6) for turn in range(10))
    with direct() as raw:
        _assert_in_place(raw, committed_log, dict(zip(runs, (kept + 120, 60), strict=True)))


def test_an_entry_that_is_rolled_back_leaves_its_place_to_the_next(committed_log: OwnLog):
    run = uuid4()
    with direct() as raw:
        for is_lost in (False, True, True, False):
            with raw.transaction(force_rollback=is_lost):
                record_all(raw, committed_log, _notes([run, run]))
        _assert_in_place(raw, committed_log, {run: 4})


def test_a_snapshot_of_before_can_not_double_a_place(committed_log: OwnLog):
    run = uuid4()
    with direct() as early, direct() as late:
        early.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with early.transaction():
            early.execute("SELECT FROM pg_class LIMIT 1")
            record_all(late, committed_log, _notes([run]))
            record_all(early, committed_log, _notes([run]))
        _assert_in_place(late, committed_log, {run: 2})


def test_a_batch_is_in_the_order_of_recording_whatever_the_servers_clock_does(
    committed_log: OwnLog,
):
    run = uuid4()
    backwards = _notes([run, run, run])[::-1]  # ids tell the time too
    with direct() as raw:
        for each in backwards:
            record_all(raw, committed_log, [each])
        kept = _assert_in_place(raw, committed_log, {run: 3})
    assert kept == [each.id for each in backwards]


def test_a_run_is_recorded_by_one_transaction_at_a_time(committed_log: OwnLog):
    run = uuid4()
    with direct() as first, direct() as second:
        with first.transaction():
            record_all(first, committed_log, _notes([run]))
            second.execute("SET lock_timeout = '100ms'")
            with pytest.raises(LockNotAvailable):
                record_all(second, committed_log, _notes([run]))
            record_all(second, committed_log, _notes([uuid4()]))
        record_all(second, committed_log, _notes([run]))


def test_the_same_run_in_another_log_waits_for_nobody(
    committed_log: OwnLog, other_committed_log: OwnLog
):
    run = uuid4()
    with direct() as first, direct() as second, first.transaction():
        record_all(first, committed_log, _notes([run]))
        second.execute("SET lock_timeout = '100ms'")
        record_all(second, other_committed_log, _notes([run]))
        assert len(ask(second, other_committed_log, "SELECT id FROM audit.entry")) == 1


MALFORMED = {
    "kind": ["Upper", "", "a" * 101, "a b", "a\n", "9a"],
    "actor_kind": ["person", "", "member "],
    "actor_id": ["x" * 256, "ß" * 128, "a\nb", "\x01"],
    "actor_version": ["x" * 256, "\t"],
    "actor_means": ["", "Session", "a" * 31, "a\n"],
    "on_behalf_of": ["Erika Mustermann", "0123456789ABCDEF", "0" * 16 + "\n", ""],
    "payload": [b"", b"{", b"[]", b"1", b'{"a":\n1}', b'{"a":"' + b"x" * 62_460 + b'"}', b"\xff{}"],
}


@pytest.mark.parametrize(
    ("column", "number"),
    [(column, n) for column, values in MALFORMED.items() for n in range(len(values))],
)
def test_the_database_refuses_a_malformed_entry_and_names_the_column(
    own_log: OwnLog, column: str, number: int
):
    made = draft(NoteTaken(note="n"), actor=SYSTEM)
    query, parameters = recording([made])
    parameters[list(SUPPLIED).index(column)] = MALFORMED[column][number]
    with (
        pytest.raises((IntegrityError, DataError)) as refused,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(query, parameters)
    cause = refused.value.__cause__
    assert isinstance(cause, CheckViolation | CharacterNotInRepertoire)
    assert isinstance(cause, CharacterNotInRepertoire) or cause.diag.column_name == column


def test_no_entry_escapes_being_sealed_and_nobody_else_can_queue(committed_log: OwnLog):
    with direct() as raw:
        record_all(raw, committed_log, _notes([None, None]))
        assert ask(raw, committed_log, "SELECT count(*)::int FROM audit.pending") == [(2,)]
        again = "INSERT INTO audit.pending (log_id, entry_id) SELECT log_id, id FROM audit.entry"
        for statement in (again, "DELETE FROM audit.pending"):
            with pytest.raises(InsufficientPrivilege):
                ask(raw, committed_log, statement)


async def test_commits_of_many_requests_place_each_run_for_itself(committed_log: OwnLog):
    runs = [uuid4() for _ in range(400)]
    note = NoteTaken(note="n")
    async with AsyncConnectionPool(
        kwargs=connection_parameters(), min_size=2, max_size=4, open=False, timeout=5
    ) as pool:
        groups = [GroupCommit(pool), GroupCommit(pool)]
        # The two name the runs in opposite orders: neither may wait for what the other holds.
        made = await asyncio.gather(
            *(
                group.record(committed_log.role, note, actor=SYSTEM, correlation=run)
                for _ in range(2)
                for group, order in zip(groups, (runs, runs[::-1]), strict=True)
                for run in order
            )
        )
    with direct() as raw:
        kept = _assert_in_place(raw, committed_log, dict.fromkeys(runs, 4))
    assert sorted(kept) == sorted(made)


async def test_facts_of_one_commit_keep_their_order_in_a_run(committed_log: OwnLog):
    one, other = uuid4(), uuid4()
    facts = _notes([other, one, other, one, one])
    async with AsyncConnectionPool(
        kwargs=connection_parameters(), min_size=1, max_size=1, open=False, timeout=5
    ) as pool:
        assert await GroupCommit(pool).record_many(committed_log.role, facts) == [
            made.id for made in facts
        ]
    with direct() as raw:
        kept = _assert_in_place(raw, committed_log, {one: 3, other: 2})
    for run in (one, other):
        of_run = [made.id for made in facts if made.correlation == run]
        assert [id_ for id_ in kept if id_ in of_run] == of_run


def test_nobody_stamps_in_the_place_of_the_database(committed_log: OwnLog):
    with direct() as raw:
        assert not ask(
            raw,
            committed_log,
            "SELECT FROM pg_proc WHERE pronamespace = 'audit'::regnamespace"
            # What event triggers call can't be called otherwise.
            " AND prorettype <> 'event_trigger'::regtype"
            " AND has_function_privilege(pg_proc.oid, 'EXECUTE')",
        )
        with pytest.raises(InsufficientPrivilege):
            ask(raw, committed_log, "SET session_replication_role = replica")
