"""The only place for what becomes of a request's database connection: given back, or not had."""

from __future__ import annotations

import psycopg
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from audit.errors import Problem

# Django's, and the driver's own where a connection is used without Django. A pool that has no
# connection to give raises psycopg_pool.PoolTimeout, which is the driver's OperationalError.
DATABASE_AWAY = (
    OperationalError,
    InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
# A database that is silent for so long counts as one that is away.
DATABASE_SECONDS = 5.0


class DatabaseUnavailable(Problem):
    """The database can't be reached at the moment. Try again."""

    code = "database_unavailable"
    status = 503


def give_back() -> None:
    """Close this thread's connection (a pool takes it back), unless a transaction is open on it."""
    if not connection.in_atomic_block:
        close_old_connections()
