"""The only place that furnishes the refund desk for a test."""

from __future__ import annotations

from datetime import datetime

import pytest
from cast import Cast

from tests.governance.desk import Desk, find, furnish


@pytest.fixture
def granted_tools() -> None:
    """The refund desk is there, with its two tools."""


@pytest.fixture
def desk(acme: Cast, now: datetime, granted_tools: None) -> Desk:
    """acme's refund desk; the test is rolled back."""
    return find(acme, now)


@pytest.fixture
def committed_desk(committed_acme: Cast, now: datetime) -> Desk:
    """acme's refund desk, committed: other connections see it."""
    return furnish(committed_acme, now)
