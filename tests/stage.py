"""The only place for what many tests find furnished: made once, in a transaction around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from psycopg.pq import TransactionStatus
from pytest_django import DjangoDbBlocker

# What stands around a test that asks for the fixture of this name; of several, the last one. Each
# is built outside of any tenant, and from fixtures of the session alone.
SETS: dict[str, Callable[[pytest.FixtureRequest], object]] = {}


class Stage:
    """One set at a time. It is never committed; a test on it is rolled back to it, as ever."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._atomic = transaction.atomic()
        self.value: Any = None

    def show(self, name: str, request: pytest.FixtureRequest) -> None:
        """Build the set of this name, unless it stands already; `value` is what was built."""
        if self._name == name and _is_whole():
            return
        self.strike()
        self._atomic = transaction.atomic()
        self._atomic._from_testcase = True  # durable blocks run in it, as they do in tests
        self._atomic.__enter__()
        self._name = name
        try:
            self.value = SETS[name](request)
        except BaseException:
            self.strike()
            raise

    def strike(self) -> None:
        """Roll the set back, if there is one: the next test finds the tenants empty."""
        if self._name is not None:
            self._name = self.value = None
            transaction.set_rollback(True)
            self._atomic.__exit__(None, None, None)


def _is_whole() -> bool:
    """Whether the last test has left the transaction as it should be."""
    if connection.closed_in_transaction or connection.needs_rollback or not connection.connection:
        return False
    status = connection.connection.pgconn.transaction_status
    return bool(status == TransactionStatus.INTRANS)


def _wanted(test: Any) -> str | None:
    """The set that a test, or what it asks with, wants around it."""
    return next((name for name in reversed(SETS) if name in test.fixturenames), None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those that want one set follow each other: it is built once, not at every turn.

    They stay before those that commit, where pytest-django has put all that are rolled back.
    """
    order = list(SETS)
    items.sort(key=lambda item: order.index(name) if (name := _wanted(item)) else len(order))


@pytest.fixture(scope="session")
def stage(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Stage]:
    """What stands at the moment; nothing, once the session ends."""
    made = Stage()
    yield made
    with django_db_blocker.unblock():
        made.strike()


@pytest.fixture(autouse=True)
def _on_stage(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> None:
    """Have the set that the test wants around it, or none; a test without database leaves it."""
    if "django_db_setup" in request.fixturenames:
        wanted = _wanted(request)
        made: Stage = request.getfixturevalue("stage")
        with django_db_blocker.unblock():
            made.show(wanted, request) if wanted else made.strike()


@pytest.fixture
def furnished() -> None:
    """The refund desk is there."""


@pytest.fixture
def stocked() -> None:
    """The refund desk is there, with the handbook in its collection."""


@pytest.fixture
def indexed() -> None:
    """The shop's documents are there."""


@pytest.fixture
def at_work(stage: Stage) -> Any:
    """acme has a row of everything: what names them, by the kind of row."""
    return stage.value
