"""The only place where a request gives its database connection back before it is answered."""

from __future__ import annotations

from django.db import close_old_connections, connection


def give_back() -> None:
    """Close this thread's connection (a pool takes it back), unless a transaction is open on it."""
    if not connection.in_atomic_block:
        close_old_connections()
