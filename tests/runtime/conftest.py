"""The only place that says what the runtime's tests find at the refund desk, and how they wait."""

from __future__ import annotations

import pytest
from builders import after
from stage import SETS
from workbench import hold_a_refund, open_the_till

from runtime import tools

SETS["till_open"] = lambda request: after(request, open_the_till)
SETS["large_refund_held"] = lambda request: after(request, hold_a_refund)


@pytest.fixture
def till_open() -> None:
    """Small refunds need nobody, and tools that do not answer are waited for for a second."""


@pytest.fixture
def large_refund_held() -> None:
    """Small refunds need nobody, and a run rests until a large one is settled."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between the tries of a tool."""
    monkeypatch.setattr(tools, "PAUSE_SECONDS", 0.0)
