"""The only place for the ledger's PostgreSQL roles.

Roles belong to the whole cluster, so their names begin with the database's name:
`<database>_audit` owns the schema `audit`; `<database>_sequencer` seals; every tenant's role is a
member of `<database>_tenants`, which may insert and select within the tenant's own log.
None can log in. The login role may take on the first two (SET), and inherits nothing of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from audit.errors import Problem

# PostgreSQL cuts names at 63 bytes without an error.
MAX_DATABASE_NAME = 52


class NoLedger(Problem):
    """The database role {role} has no ledger, so nothing can be recorded or read here."""

    code = "no_ledger"
    status = 500


class Cursor(Protocol):
    """What Django's cursors and psycopg's have in common."""

    def execute(self, query: Any, params: Any = ...) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> Any: ...


def owner_of(database: str) -> str:
    """The role that owns the ledger's tables."""
    return f"{database[:MAX_DATABASE_NAME]}_audit"


def sequencer_of(database: str) -> str:
    """The role that seals entries and publishes checkpoints, of all logs."""
    return f"{database[:MAX_DATABASE_NAME]}_sequencer"


def tenants_of(database: str) -> str:
    """The role that every tenant's role is a member of."""
    return f"{database[:MAX_DATABASE_NAME]}_tenants"


@contextlib.contextmanager
def acting_as(cursor: Cursor, role: str) -> Iterator[None]:
    """Run the block as `role`, inside a transaction; its rollback takes the role back as well."""
    cursor.execute("SELECT current_setting('role')")
    (before,) = cursor.fetchone()
    take_on(cursor, role)
    yield
    take_on(cursor, before)


def take_on(cursor: Cursor, role: str) -> None:
    """SET LOCAL ROLE: be `role` until the transaction ends."""
    cursor.execute("SELECT set_config('role', %s, true)", [role])
