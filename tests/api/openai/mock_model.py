"""The only place for the model API behind the data plane's tests: real HTTP, in a thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Reaction = Callable[[web.Request], Awaitable[web.StreamResponse]]

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look_up_order", "arguments": '{"order_id":"A1"}'},
}


def completion(content: str | None = "Yes.", **message: Any) -> dict[str, Any]:
    """A whole answer."""
    spoken = {"role": "assistant", "content": content, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "upstream-model",
        "choices": [{"index": 0, "message": spoken, "finish_reason": "stop"}],
        "usage": USAGE,
        "x_vendor": {"kept": 0.5},
    }


def vectors(*values: list[float]) -> dict[str, Any]:
    """An answer with embeddings."""
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(values)]
    return {"object": "list", "data": data, "model": "vectors-1", "usage": {"prompt_tokens": 7}}


def answers(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reaction:
    """Answer with JSON, or with bytes as they are."""

    async def react(request: web.Request) -> web.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/json"
        return web.Response(body=data, status=status, content_type=kind, headers=headers)

    return react


def chunk(content: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """One event of a stream."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **fields}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


SPOKEN = [chunk("Ye"), chunk("s."), chunk(finish="stop")]
TOLD = [chunk(choices=[], usage=USAGE), b"data: [DONE]\n\n"]


def streams(*pieces: bytes, pause: float = 0, breaks: bool = False) -> Reaction:
    """Answer with an event stream; `breaks` drops the connection at its end."""

    async def react(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(pause)
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
    """What the model API was asked, and how it reacts: its last reaction for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = threading.Event()
        self.left = threading.Event()  # a client closed its connection in the middle
        self.start_over()

    def start_over(self) -> None:
        self.reactions: list[Reaction] = [answers(completion())]
        self.bodies: list[dict[str, Any]] = []
        self.asked.clear()
        self.left.clear()

    def will(self, *reactions: Reaction) -> None:
        self.reactions = list(reactions)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.asked.set()
        reaction = self.reactions.pop(0) if len(self.reactions) > 1 else self.reactions[0]
        try:
            return await reaction(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left.set()
            raise


async def _serve(upstream: Upstream) -> web.AppRunner:
    app = web.Application()
    app.router.add_post("/v1/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    return runner


@contextmanager
def serving() -> Iterator[Upstream]:
    """A model API on a free port, until the block ends."""
    upstream, loop = Upstream(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_serve(upstream), loop).result(10)
    try:
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
