"""The ledger's tables are neither dropped nor altered, except by maintenance, which is kept."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from own_logs import direct
from psycopg.errors import InsufficientPrivilege

from audit import ddl_guard, roles
from countersign import checks

ATTEMPTS = [
    "DROP TABLE audit.entry",
    "DROP TABLE audit.maintenance",
    "DROP SCHEMA audit CASCADE",
    "DROP FUNCTION audit.stamp() CASCADE",
    "DROP TRIGGER append_only ON audit.entry",
    "ALTER TABLE audit.entry DISABLE TRIGGER ALL",
    "ALTER TABLE audit.entry DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE audit.entry ADD COLUMN note text",
    "ALTER FUNCTION audit.stamp() RESET search_path",
    "DROP POLICY own ON audit.entry",
    "CREATE RULE nothing AS ON INSERT TO audit.entry DO INSTEAD NOTHING",
    "CREATE TABLE audit.more (id int)",
]


@pytest.fixture
def owner(db: None) -> Iterator[psycopg.Connection]:
    """A connection that acts as the ledger's owner; what it does is rolled back."""
    with direct() as raw, raw.transaction(force_rollback=True):
        raw.execute("SELECT set_config('role', %s, true)", [roles.owner_of(raw.info.dbname)])
        yield raw


@pytest.mark.parametrize("statement", ATTEMPTS)
def test_not_even_the_owner_alters_the_ledger(owner: psycopg.Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege, match="append-only"):
        owner.execute(statement)


def test_maintenance_may_and_is_written_down(owner: psycopg.Connection) -> None:
    owner.execute("SELECT audit.maintain('ALTER TABLE audit.entry ADD COLUMN note text')")
    assert owner.execute("SELECT count(note) FROM audit.entry").fetchone() == (0,)
    kept = owner.execute(
        "SELECT statement, session_role = session_user FROM audit.maintenance ORDER BY id DESC"
    ).fetchone()
    assert kept == ("ALTER TABLE audit.entry ADD COLUMN note text", True)
    with pytest.raises(InsufficientPrivilege, match="append-only"):
        owner.execute("DELETE FROM audit.maintenance")


def test_nobody_but_the_owner_maintains(db: None) -> None:
    with direct() as raw, pytest.raises(InsufficientPrivilege):
        raw.execute("SELECT audit.maintain('DROP TABLE audit.entry')")


def test_other_tables_are_nobodys_business(owner: psycopg.Connection) -> None:
    owner.execute("RESET ROLE")
    owner.execute("CREATE TABLE public.audit_notes (id int)")
    owner.execute("ALTER TABLE public.audit_notes ADD COLUMN note text")
    owner.execute("DROP TABLE public.audit_notes")


def test_a_database_without_the_guard_is_told_of(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        assert ddl_guard.is_there(cursor)
    assert checks.database_is_safe(databases=["default"]) == []
    monkeypatch.setattr(ddl_guard, "is_there", lambda cursor: False)
    (warning,) = checks.database_is_safe(databases=["default"])
    assert (warning.id, "protect_ledger" in warning.msg) == ("countersign.W014", True)


def test_only_a_superuser_can_make_the_guard(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ddl_guard, "NAMES", ("audit_ddl", "another"))
    with connection.cursor() as cursor:
        assert not ddl_guard.protect(cursor)
