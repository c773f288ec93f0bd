"""The only place for the callers of the API's tests: a key, a host, and Django's test client."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from builders import Desk
from django.test import AsyncClient, Client

from runtime.models import Run
from tenants import isolation
from tenants.keys import issuing, secrets
from tenants.keys.models import Key
from tenants.models import Tenant
from tenants.principals import Principal

API = "/api/v1/"


class OneHostClient(AsyncClient):
    """Django's, which would send its own host beside ours."""

    def _base_scope(self, **request: Any) -> Any:
        scope = super()._base_scope(**request)
        scope["headers"].remove((b"host", b"testserver"))
        return scope


class Caller:
    """Somebody with a key (or none) who calls one host. The test's own tenant is kept."""

    def __init__(self, key: str | None, host: str) -> None:
        self.key = key
        self.host = host

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Any:
        return self.send("GET", path, query=query, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, body, headers=headers)

    def put(self, path: str, body: Any = None) -> Any:
        return self.send("PUT", path, body)

    def patch(self, path: str, body: Any = None) -> Any:
        return self.send("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.send("DELETE", path)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """The answer. `headers` are written as keywords: `idempotency_key="k"`."""
        before = isolation.entered()
        client = Client(raise_request_exception=False)
        answer = client.generic(
            method,
            _absolute(path),
            _encoded(body),
            content_type=content_type,
            query_params=query,
            headers=self.headers(headers or {}),
        )
        _back(before)
        return answer

    def upload(self, path: str, fields: dict[str, Any], **headers: str) -> Any:
        """The answer to a form."""
        before = isolation.entered()
        answer = Client().post(_absolute(path), fields, headers=self.headers(headers))
        _back(before)
        return answer

    def stream(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer over ASGI, with its streamed content (bytes) as `.body`."""
        before = isolation.entered()
        answer = async_to_sync(self.astream)(method, path, body, **headers)
        _back(before)
        return answer

    async def astream(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        client = OneHostClient()
        answer: Any = await client.generic(
            method,
            _absolute(path),
            _encoded(body),
            content_type="application/json",
            headers=self.headers(headers),
        )
        if answer.streaming:
            answer.body = b"".join([part async for part in answer.streaming_content])
        else:
            answer.body = answer.content
        return answer

    def headers(self, more: dict[str, str]) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        signed = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return {"Host": self.host, **signed, **named}


def _absolute(path: str) -> str:
    return path if path.startswith("/") else API + path


def _encoded(body: Any) -> Any:
    if body is None:
        return b""
    return body if isinstance(body, bytes | str) else json.dumps(body)


def _back(tenant: Tenant | None) -> None:
    """The request left the test's tenant."""
    if tenant is not None:
        isolation.enter(tenant)


def member(principal: Principal) -> Caller:
    """A member with a fresh token, at their tenant's host; the tenant must be acting."""
    _, token = issuing.issue_member_token(principal, now=datetime.now(UTC))
    return Caller(token, f"{principal.tenant}.localhost")


def service_key(tenant: str, public_id: str, by: str) -> Caller:
    """A client app with a service key of this id; its tenant must be acting."""
    text, made_id, secret_hash = secrets.generate(tenant)
    Key.objects.create(
        public_id=public_id,
        kind="service",
        name="App",
        secret_hash=secret_hash,
        created_by=by,
        created_at=datetime.now(UTC),
    )
    return Caller(text.replace(made_id, public_id), f"{tenant}.localhost")


class Estate(msgspec.Struct):
    """What acme has, for whoever tries to reach it."""

    desk: Desk
    run: Run
    document: str
    approval: str
    entry: str
    export: str
    erasure: str
    hold: str
    key: str
