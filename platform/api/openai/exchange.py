"""The only place that speaks ASGI for the data plane: one request in, one answer out."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from api.openai import problems
from audit.errors import Problem
from audit.ids import new_id
from tenants import middleware

Headers = Sequence[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class Exchange:
    """One request and its answer. `id` correlates the ledger's entries, and is in X-Request-Id."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = new_id()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._more_headers: list[tuple[bytes, bytes]] = []
        self._awaited = threading.Event()
        self._awaited.set()
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str:
        """The header's last value, or an empty text; `name` in lower case."""
        return self._headers.get(name, b"").decode("latin-1")

    def has(self, name: bytes) -> bool:
        """Whether the header was sent, be it empty; `name` in lower case."""
        return name in self._headers

    def tell(self, name: bytes, value: bytes) -> None:
        """Put one more header before the answer, whatever it will be."""
        self._more_headers.append((name, value))

    @property
    def is_awaited(self) -> bool:
        """Whether somebody still waits for what is done for the answer; to be asked in any thread.

        Nobody does once the client went away in `while_connected`, or after `give_up`.
        """
        return self._awaited.is_set()

    def give_up(self) -> None:
        """Wait no longer for what is under way: its outcome will not be in the answer."""
        self._awaited.clear()

    @property
    def host(self) -> str:
        """The host name that was asked; an empty text for a malformed one, or for none."""
        return middleware.name_of(self.header(b"host"))

    async def body(self) -> bytes:
        """The whole body. Raises BodyTooLarge, and CancelledError where the client went away."""
        message = await self._receive()
        if not message.get("more_body"):
            return bytes(message.get("body", b""))
        pieces = [message["body"]]
        while message.get("more_body"):
            message = await self._receive()
            pieces.append(message.get("body", b""))
        return b"".join(pieces)

    async def answer(self, body: bytes, *, status: int = 200, headers: Headers = ()) -> None:
        """Answer with JSON."""
        length = (b"content-length", b"%d" % len(body))
        await self._start(status, [JSON, length, *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, problem: Problem) -> None:
        """Answer with an error."""
        body, headers = problems.body_of(problem), problems.headers_of(problem)
        await self.answer(body, status=problems.status_of(problem), headers=headers)

    async def begin_events(self) -> None:
        """Begin an answer of server-sent events."""
        await self._start(200, EVENTS)

    async def event(self, data: bytes) -> None:
        """Send one event."""
        await self._more(b"data: " + data + b"\n\n")

    async def comment(self, words: str) -> None:
        """Send what clients skip, to show that the answer is still coming."""
        await self._more(b": " + words.encode() + b"\n\n")

    async def end_events(self, problem: Problem | None = None) -> None:
        """End the events: with an error, or as OpenAI does."""
        last = problems.body_of(problem) if problem else b"[DONE]"
        await self._send({"type": "http.response.body", "body": b"data: " + last + b"\n\n"})

    @contextlib.asynccontextmanager
    async def while_connected(self) -> AsyncIterator[None]:
        """Give up the block when the client goes away, and go on after it."""
        task = asyncio.current_task()
        listening = asyncio.create_task(self._disconnected())

        def give_up(done: asyncio.Task[None]) -> None:
            if task is not None and not done.cancelled() and not done.exception():
                self.give_up()
                task.cancel()

        listening.add_done_callback(give_up)
        try:
            yield
        except asyncio.CancelledError:
            if task is None or self.is_awaited or task.uncancel() > 0:
                raise
        finally:
            listening.remove_done_callback(give_up)
            listening.cancel()

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _start(self, status: int, headers: Headers) -> None:
        named = [*headers, *self._more_headers, (b"x-request-id", str(self.id).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": named})

    async def _more(self, data: bytes) -> None:
        message: dict[str, Any] = {"type": "http.response.body", "body": data, "more_body": True}
        await self._send(message)


def json_of(value: Any) -> bytes:
    """`value` as JSON."""
    return orjson.dumps(value)
