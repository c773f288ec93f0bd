"""The only place that tests who may do what to the ledger: PostgreSQL itself says no."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.utils import ProgrammingError
from own_logs import NoteTaken, OwnLog, act_as, direct, publish
from psycopg.errors import InsufficientPrivilege

from audit import ledger, queries, roles, schema
from audit.events import SYSTEM
from audit.models import AppendOnly, Entry
from audit.queries import EntryUnknown
from audit.roles import NoLedger

TABLES = list(schema.REFUSED)
# What this test's logs hold something of without more ado.
USED = ["log", "entry", "pending", "leaf", "tree_head", "checkpoint"]


def _is_denied(statement: str, parameters: list[object] | None = None) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
    except DatabaseError as problem:
        return isinstance(problem.__cause__, InsufficientPrivilege)
    return False


def _rows(statement: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def _count(table: str) -> int:
    ((count,),) = _rows(f"SELECT count(*)::int FROM audit.{table}")  # noqa: S608  (our own table)
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit.{table} SET {column} = {column}",
        "DELETE FROM audit.{table}",
        "TRUNCATE audit.{table}",
        "DROP TABLE audit.{table}",
        "ALTER TABLE audit.{table} DISABLE ROW LEVEL SECURITY",
        "SELECT {column} FROM audit.{table} FOR UPDATE",
    ],
)
def test_a_tenant_can_not_change_the_past(own_log: OwnLog, table: str, statement: str):
    column = "id" if table == "log" else "log_id"
    assert _is_denied(statement.format(table=table, column=column))


@pytest.mark.parametrize("table", [name for name in TABLES if name != "pending"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_not_even_the_sequencer_can(own_log: OwnLog, table: str, statement: str):
    act_as("none")
    act_as(roles.sequencer_of(connection.settings_dict["NAME"]))
    column = "id" if table == "log" else "log_id"
    assert _is_denied(statement.format(f"audit.{table}", column, column))


@pytest.mark.parametrize("table", TABLES)
def test_the_login_role_can_not_even_look(own_log: OwnLog, table: str):
    act_as("none")
    assert _is_denied(f"SELECT FROM audit.{table}")


INSERT = """
INSERT INTO audit.entry (id, log_id, kind, actor_kind, actor_id, payload{})
VALUES (%s, %s, 'test.forged', 'system', 'x', %s{})
"""


@pytest.mark.parametrize(
    "column",
    ["occurred_at", "recorded_at"],
)
def test_nobody_can_say_when_an_entry_was_recorded(own_log: OwnLog, column: str):
    values = [uuid4(), own_log.id, b"{}"]
    assert _is_denied(INSERT.format(f", {column}", ", '2001-01-01'"), values)
    assert not _is_denied(INSERT.format("", ""), values)
    assert queries.entries(kind="test.forged").get().recorded_at.year > 2001


def test_a_tenant_can_not_write_into_anothers_log(own_log: OwnLog, other_log: OwnLog):
    act_as(own_log.role)
    assert _is_denied(INSERT.format("", ""), [uuid4(), other_log.id, b"{}"])
    pending = "INSERT INTO audit.pending (log_id, entry_id) VALUES (%s, %s)"
    for log in (own_log, other_log):
        assert _is_denied(pending, [log.id, uuid4()])
    body = "INSERT INTO audit.body (log_id, entry_id, subject, sealed) VALUES (%s, %s, %s, '')"
    assert _is_denied(body, [other_log.id, uuid4(), uuid4()])
    key = "INSERT INTO audit.subject_key (id, log_id, name_code, wrapped) VALUES (%s, %s, %s, '')"
    assert _is_denied(key, [uuid4(), other_log.id, bytes(32)])


SEALED = ["leaf", "tile", "tree_head", "checkpoint", "cosignature", "anchor", "halt", "log"]


@pytest.mark.parametrize("table", SEALED)
def test_a_tenant_can_not_seal(own_log: OwnLog, table: str):
    assert _is_denied(f"INSERT INTO audit.{table} DEFAULT VALUES")


@pytest.mark.parametrize("payload", [b"[]", b"{", b"\xff{}", b'{"a":\n1}'])
def test_what_is_no_json_object_on_one_line_is_no_entry(own_log: OwnLog, payload: bytes):
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INSERT.format("", ""), [uuid4(), own_log.id, payload])


def test_a_tenant_sees_its_own_log_and_no_other_by_raw_sql(own_log: OwnLog, other_log: OwnLog):
    act_as(other_log.role)
    theirs = ledger.record(NoteTaken(note="globex's secret"), actor=SYSTEM)
    act_as("none")
    publish()
    act_as(other_log.role)
    late = ledger.record(NoteTaken(note="pending"), actor=SYSTEM)
    for table in USED:
        assert _count(table) >= 1
    act_as(own_log.role)
    for table in USED[1:]:
        assert _count(table) == 0
    assert _rows("SELECT id FROM audit.log") == [(own_log.id,)]
    for foreign in (theirs, late):
        with pytest.raises(EntryUnknown) as refusal:
            queries.access_entry(foreign)
        assert refusal.value.status == 404


def test_a_tenant_can_not_become_another(own_log: OwnLog, other_log: OwnLog):
    database = connection.settings_dict["NAME"]
    trusted = (roles.owner_of, roles.sequencer_of)
    for role in (other_log.role, *(name_of(database) for name_of in trusted)):
        assert _rows(f"SELECT pg_has_role('{own_log.role}', '{role}', 'MEMBER')") == [(False,)]
    assert _rows(
        f"SELECT pg_has_role('{own_log.role}', '{roles.tenants_of(database)}', 'SET')"
    ) == [(False,)]


def test_the_models_do_not_write_either(own_log: OwnLog):
    entry = queries.access_entry(ledger.record(NoteTaken(note="kept"), actor=SYSTEM))
    for attempt in (
        entry.save,
        entry.delete,
        Entry.objects.all().delete,
        lambda: Entry.objects.update(kind="x"),
        lambda: Entry.objects.create(kind="x"),
        lambda: Entry.objects.bulk_create([entry]),
    ):
        with pytest.raises(AppendOnly):
            attempt()


def test_outside_a_tenant_there_is_no_ledger_to_read(own_log: OwnLog):
    act_as("none")
    for attempt in (queries.entries, queries.status, queries.latest_checkpoint):
        with pytest.raises(NoLedger):
            attempt()


def test_outside_a_tenant_there_is_no_ledger_to_write(own_log: OwnLog):
    act_as("none")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        ledger.record(NoteTaken(note="whose?"), actor=SYSTEM)


def test_no_role_of_the_ledger_can_log_in(committed_log: OwnLog):
    database = connection.settings_dict["NAME"]
    kinds = (roles.owner_of, roles.sequencer_of, roles.tenants_of)
    names = [name_of(database) for name_of in kinds]
    with direct() as raw:
        found = raw.execute(
            "SELECT rolname, rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole"
            " FROM pg_roles WHERE rolname = ANY(%s)",
            [names],
        ).fetchall()
    assert dict(found) == dict.fromkeys(names, False)
