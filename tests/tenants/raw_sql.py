"""The only place where tests ask PostgreSQL itself, past the ORM."""

from __future__ import annotations

from typing import Any

from django.db import connection


def one(statement: str, *parameters: Any) -> Any:
    """The first column of the first row; None where there is no row."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def role() -> str:
    """The role that a statement has now."""
    return str(one("SELECT current_user"))
