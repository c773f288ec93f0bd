"""The only place that tells pytest where the fixtures are, and makes this run's own database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.environment import DATABASE_NAME

pytest_plugins = ["cast", "world", "stage", "builders"]


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
