"""The only place where tests of the demo give its client the API of their own process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import async_to_sync
from django.test import Client as Browser

from demo.client import ROOT, Answer, Client
from tenants import isolation
from tenants.keys import issuing
from tenants.principals import Principal


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
        content = async_to_sync(_all_of)(answer) if answer.streaming else answer.content
        isolation.enter(tenant)
        told = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, told, content)


async def _all_of(answer: Any) -> bytes:
    return b"".join([part async for part in answer.streaming_content])


def signed_in(member: Principal) -> Client:
    """A client with a token of the member's."""
    _, token = issuing.issue_member_token(member, now=datetime.now(UTC))
    return InProcess(80, "acme", token)
