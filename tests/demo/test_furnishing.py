"""Furnishing acme once more, on what an earlier demo left."""

from __future__ import annotations

import pytest
from cast import Cast
from in_process import signed_in

from countersign import configuration
from demo import desk
from demo.client import Client


@pytest.fixture
def alice(acme: Cast) -> Client:
    return signed_in(acme.alice)


def test_a_second_demo_may_answer_from_another_model(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.connect_models(alice, configuration.read())
    assert alice.get("/routes/answers")["endpoints"] == ["extractive"]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    desk.connect_models(alice, configuration.read())
    (chosen,) = alice.get("/routes/answers")["endpoints"]
    assert alice.get(f"/endpoints/{chosen}")["provider"].startswith("openai-")
    monkeypatch.delenv("OPENAI_API_KEY")
    desk.connect_models(alice, configuration.read())
    assert alice.get("/routes/answers")["endpoints"] == ["extractive"]
