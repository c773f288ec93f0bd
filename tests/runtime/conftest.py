from __future__ import annotations

import pytest

from runtime import tools


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between the tries of a tool."""
    monkeypatch.setattr(tools, "PAUSE_SECONDS", 0.0)
