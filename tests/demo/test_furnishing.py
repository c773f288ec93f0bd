"""Furnishing acme once more, on what an earlier demo left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from cast import Cast
from django.test import Client as Browser

from countersign import configuration
from demo import desk
from demo.client import ROOT, Answer, Client
from tenants import isolation
from tenants.keys import issuing


class InProcess(Client):
    """The demo's client, at the API of this process."""

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        tenant = isolation.current()
        sent = {"Host": "acme.localhost", "Authorization": f"Bearer {self.token}"}
        browser = Browser(raise_request_exception=False)
        answer = browser.generic(
            method,
            ROOT + path,
            body,
            content_type="application/json",
            headers={**sent, **(headers or {})},
        )
        isolation.enter(tenant)
        told = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, told, answer.content)


@pytest.fixture
def alice(acme: Cast) -> Client:
    _, token = issuing.issue_member_token(acme.alice, now=datetime.now(UTC))
    return InProcess(80, "acme", token)


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
