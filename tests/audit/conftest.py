"""The only place for ledgers of a test's own: rolled back with it, or committed for good."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from own_logs import OwnLog, act_as, make_log
from psycopg import sql
from pytest_django import DjangoDbBlocker


@pytest.fixture(autouse=True)
def _afterwards_the_login_role() -> Iterator[None]:
    yield
    connection.set_schema_to_public()


@pytest.fixture
def own_log(db: None) -> OwnLog:
    """A log of this test alone; the connection acts as its role. Rolled back."""
    made = make_log()
    act_as(made.role)
    return made


@pytest.fixture
def other_log(db: None) -> OwnLog:
    """Another tenant's log. The connection is left who it was. Rolled back."""
    before = connection.tenant
    act_as("none")
    made = make_log()
    connection.set_tenant(before)
    return made


@pytest.fixture
def committed_log(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[OwnLog]:
    """A log that other connections see. What is recorded in it stays: the ledger is append-only."""
    with django_db_blocker.unblock():
        with transaction.atomic():
            made = make_log()
        yield made
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(made.role)))
