"""The only place that tests that PostgreSQL refuses its owners to change the past, too."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from own_logs import OwnLog, direct, record_committed
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from audit import roles, schema
from audit.management.commands.run_sequencer import connection_parameters

STATEMENTS = {
    "UPDATE": "UPDATE {table} SET {column} = {column}",
    "DELETE": "DELETE FROM {table}",
    # CASCADE, for PostgreSQL has another reason to refuse where a foreign key leads here.
    "TRUNCATE": "TRUNCATE {table} CASCADE",
}
CASES = [(table, each) for table in schema.REFUSED for each in STATEMENTS]
# The only deletions that anybody may do: off the queue.
MAY_DELETE = {"sequencer": {"pending"}, "tenants": set()}


@pytest.fixture
def superuser(committed_log: OwnLog) -> Iterator[psycopg.Connection]:
    """The server's superuser, where the tests' server lets us in as one (the embedded one does)."""
    for user in (connection_parameters().get("user"), "postgres"):
        try:
            raw = psycopg.connect(**connection_parameters() | {"user": user}, autocommit=True)
        except psycopg.OperationalError:
            continue
        with raw:
            if raw.execute("SELECT rolsuper FROM pg_roles WHERE rolname = user").fetchone()[0]:
                yield raw
                return
    pytest.skip("this server does not let us in as its superuser")


def _refusal(raw: psycopg.Connection, table: str, operation: str) -> str | None:
    column = sql.Identifier("id" if table == "log" else "log_id")
    named = {"table": sql.Identifier("audit", table), "column": column}
    try:
        with raw.transaction(force_rollback=True):
            raw.execute(sql.SQL(STATEMENTS[operation]).format(**named))
    except InsufficientPrivilege as refusal:
        return refusal.diag.message_primary
    return None


def _expected(table: str, operation: str) -> set[str | None]:
    if operation not in schema.REFUSED[table]:
        return {None}
    of = {table, "checkpoint", "cosignature", "anchor"} if operation == "TRUNCATE" else {table}
    return {f"The ledger is append-only: {operation} of audit.{each} is refused." for each in of}


@pytest.mark.parametrize(("table", "operation"), CASES)
def test_the_owner_can_not_change_the_past(committed_log: OwnLog, table: str, operation: str):
    with direct() as raw:
        record_committed(raw, committed_log, 1)
        with raw.transaction():
            roles.take_on(raw.cursor(), roles.owner_of(raw.info.dbname))
            assert _refusal(raw, table, operation) in _expected(table, operation)


@pytest.mark.parametrize("role", ["superuser", "owner"])
@pytest.mark.parametrize("replication", ["origin", "local", "replica"])
def test_not_even_the_superuser_can_nor_as_a_replica(
    committed_log: OwnLog, superuser: psycopg.Connection, role: str, replication: str
):
    with direct() as raw:
        record_committed(raw, committed_log, 1)
    with superuser.transaction():
        superuser.execute(f"SET LOCAL session_replication_role = {replication}")
        if role == "owner":
            roles.take_on(superuser.cursor(), roles.owner_of(superuser.info.dbname))
        for table, operation in CASES:
            assert _refusal(superuser, table, operation) in _expected(table, operation), table


def test_a_superuser_who_plays_a_replica_does_not_stamp_entries_either(
    committed_log: OwnLog, superuser: psycopg.Connection
):
    with superuser.transaction(force_rollback=True):
        superuser.execute("SET LOCAL session_replication_role = replica")
        made = superuser.execute(
            "INSERT INTO audit.entry (id, log_id, kind, actor_kind, actor_id, payload,"
            " occurred_at, recorded_at)"
            " VALUES (gen_random_uuid(), %s, 'test.forged', 'system', 'x',"
            " '{}', '2001-01-01', '2001-01-01') RETURNING occurred_at, recorded_at",
            [committed_log.id],
        ).fetchone()
    assert made is not None
    assert [at.year > 2020 for at in made] == [True, True]


# What the operators did to the ledger's tables. It is of no log, and no role of ours sees it.
OPERATORS = "maintenance"
LAW = """
SELECT class.relname, class.relkind, class.relrowsecurity, owner.rolname,
    array(SELECT polname::text FROM pg_policy WHERE polrelid = class.oid ORDER BY polname),
    array(SELECT tgname::text || ' ' || tgenabled::text FROM pg_trigger
        WHERE tgrelid = class.oid AND NOT tgisinternal ORDER BY tgname)
FROM pg_class AS class JOIN pg_roles AS owner ON owner.oid = class.relowner
WHERE relnamespace = 'audit'::regnamespace AND relkind NOT IN ('i', 't', 'S')
"""
POLICIES = """
SELECT polrelid::regclass::text, polname::text, polcmd::text, polpermissive,
    array(SELECT rolname::text FROM pg_roles WHERE oid = ANY(polroles) ORDER BY rolname)
FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
WHERE relnamespace = 'audit'::regnamespace
"""


def test_every_table_of_the_ledger_is_guarded(committed_log: OwnLog):
    with direct() as raw:
        found = {name: rest for name, *rest in raw.execute(LAW).fetchall()}
        owner = roles.owner_of(raw.info.dbname)
    kind, _, owned_by, policies, triggers = found.pop(OPERATORS)
    assert (kind, owned_by, policies, triggers) == ("r", owner, [], ["append_only A"])
    assert found.keys() == schema.REFUSED.keys()
    for name, (kind, has_row_security, owned_by, policies, triggers) in found.items():
        # A: it fires always, for whatever the session plays.
        own = {"entry": ["append_only A", "stamp A"]}
        expected = own.get(name, ["append_only A"])
        assert (kind, has_row_security, owned_by) == ("r", True, owner), name
        assert (policies, triggers) == (["every", "own"], expected), name


def test_every_policy_is_for_whom_it_is_meant(committed_log: OwnLog):
    with direct() as raw:
        database = raw.info.dbname
        found = raw.execute(POLICIES).fetchall()
    tenants = [roles.tenants_of(database)]
    trusted = [roles.sequencer_of(database)]
    for table, policy, command, is_permissive, who in found:
        expected = tenants if policy == "own" else trusted
        assert (command, is_permissive, who) == ("*", True, expected), table


GIVEN = """
SELECT privilege, array_agg(relname::text) FROM pg_class,
    unnest(ARRAY['DELETE', 'UPDATE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
WHERE relnamespace = 'audit'::regnamespace AND relkind NOT IN ('i', 't', 'S')
  AND (has_table_privilege(%(role)s, pg_class.oid, privilege)
    OR privilege IN ('UPDATE', 'REFERENCES')
      AND has_any_column_privilege(%(role)s, pg_class.oid, privilege))
GROUP BY privilege
"""


@pytest.mark.parametrize("role", MAY_DELETE)
def test_nobody_was_given_more_than_they_need(committed_log: OwnLog, role: str):
    with direct() as raw:
        name = getattr(roles, f"{role}_of")(raw.info.dbname)
        given = {key: set(on) for key, on in raw.execute(GIVEN, {"role": name}).fetchall()}
    assert given == ({"DELETE": MAY_DELETE[role]} if MAY_DELETE[role] else {})


@pytest.mark.parametrize("role", MAY_DELETE)
@pytest.mark.parametrize("privilege", ["SELECT", "INSERT"])
def test_what_operators_did_is_for_no_role_of_ours(
    committed_log: OwnLog, role: str, privilege: str
):
    query = (
        "SELECT has_any_column_privilege(%s, pg_class.oid, %s) FROM pg_class"
        " WHERE relnamespace = 'audit'::regnamespace AND relname = %s"
    )
    with direct() as raw:
        name = getattr(roles, f"{role}_of")(raw.info.dbname)
        assert raw.execute(query, [name, privilege, OPERATORS]).fetchall() == [(False,)]


def test_what_is_refused_is_said_by_the_database_and_not_by_our_code_alone():
    assert {"entry", "leaf", "tile", "tree_head", "checkpoint"} <= schema.REFUSED.keys()
    for table, refused in schema.REFUSED.items():
        assert {"UPDATE", "TRUNCATE"} <= set(refused.split(" OR ")), table
    deletable = {table for table, refused in schema.REFUSED.items() if "DELETE" not in refused}
    assert deletable == set().union(*MAY_DELETE.values())
