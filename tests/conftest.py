"""The only place that tells pytest where the fixtures are, and which database is this run's own."""

from __future__ import annotations

import pytest

from tests.environment import DATABASE_NAME

pytest_plugins = ["cast", "world", "builders"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Use a database that no other test run uses at the same time."""
    from django.db import connection

    connection.settings_dict["TEST"]["NAME"] = DATABASE_NAME
