"""The only place for the model API that these tests call: real HTTP on loopback, with faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from aiohttp import web

from gateway import requests
from gateway.attempts import Patience
from gateway.specs import EndpointSpec, RouteSpec
from governance.intents import CallModel
from governance.permits import mint
from tenants.encryption import Secret

API_KEY = "sk-upstream-0123456789abcdef"
HASTE = Patience(attempts=3, first_wait=0.001, longest_wait=0.01, total=5)
ASK = {"model": "fast", "messages": [{"role": "user", "content": "May I return a kettle?"}]}
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "upstream-model",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
    ],
    "usage": USAGE,
}

Reaction = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answers(body: Any = ANSWER, status: int = 200, **headers: str) -> Reaction:
    """Answer with JSON (or with bytes as they are)."""

    async def react(request: web.Request) -> web.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(
            body=data, status=status, headers=named, content_type="application/json"
        )

    return react


def chunk(content: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """Make one event of a stream."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"object": "chat.completion.chunk", "choices": [choice], **fields}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


SPOKEN = [chunk("Ye"), chunk("s."), chunk(finish="stop")]
TOLD = [chunk(choices=[], usage=USAGE), b"data: [DONE]\n\n"]


def streams(*pieces: bytes, breaks: bool = False) -> Reaction:
    """Answer with an event stream, one write a piece; `breaks` drops the connection at the end."""

    async def react(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if breaks:
            assert request.transport is not None
            request.transport.abort()
        return response

    return react


async def hangs(request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(60)
    raise AssertionError


class Upstream:
    """A model API that reacts as scripted, its last reaction for ever, and remembers."""

    def __init__(self) -> None:
        self.url = ""
        self.reactions: list[Reaction] = [answers()]
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def calls(self) -> int:
        return len(self.bodies)

    def will(self, *reactions: Reaction) -> None:
        self.reactions = list(reactions)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        reaction = self.reactions.pop(0) if len(self.reactions) > 1 else self.reactions[0]
        return await reaction(request)


async def serve(upstream: Upstream) -> web.AppRunner:
    """Serve on a free port of loopback."""
    app = web.Application()
    app.router.add_post("/v1/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    return runner


def endpoint(upstream: Upstream | None = None, **fields: Any) -> EndpointSpec:
    """Make an endpoint at that model API; a price of 1 micro an input and 2 an output token."""
    plain: dict[str, Any] = {
        "slug": "main",
        "provider": "acme-openai",
        "kind": "openai",
        "base_url": upstream.url if upstream else "http://127.0.0.1:9/v1",
        "api_key": Secret(API_KEY),
        "timeout_seconds": 5,
        "model": "upstream-model",
        "purpose": "chat",
        "input_micros_per_million": 1_000_000,
        "output_micros_per_million": 2_000_000,
    }
    return EndpointSpec(**{**plain, **fields})


def route(*endpoints: EndpointSpec, slug: str = "fast") -> RouteSpec:
    """Make a route of acme over these endpoints."""
    return RouteSpec(
        tenant="acme", slug=slug, purpose=endpoints[0].purpose, endpoints=tuple(endpoints)
    )


def permitted(request: Any, *, resource: str = "fast", tenant: str = "acme") -> dict[str, Any]:
    """Decide (as governance would) that Robo may make this call; use it as `**permitted(…)`."""
    intent = CallModel(
        tenant=tenant,
        principal_kind="client_app",
        principal="robo",
        resource=resource,
        arguments=requests.arguments(request),
    )
    return {"permit": mint(intent, uuid4()), "intent": intent}
