"""The only place that tells pytest where the fixtures are, and makes this run's own database."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from tests.environment import DATABASE_NAME

pytest_plugins = ["cast", "world", "stage", "builders"]

ASYNC_SECONDS = 60


def pytest_itemcollected(item: pytest.Item) -> None:
    """An asynchronous test that waits for ever says where: a dump of threads shows but the loop."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _bounded(item.obj)


def _bounded(test: Any) -> Any:
    @functools.wraps(test)
    async def within(*arguments: Any, **named: Any) -> None:
        async with asyncio.timeout(ASYNC_SECONDS):
            await test(*arguments, **named)

    return within


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Make a database that no other test run uses, whichever fixtures ask for it."""
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    connection.settings_dict["TEST"]["NAME"] = DATABASE_NAME
    with django_db_blocker.unblock():
        made = setup_databases(0, False, aliases={"default"}, serialized_aliases=set())
        yield
        teardown_databases(made, verbosity=0)
