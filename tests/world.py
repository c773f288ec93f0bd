"""The only place for the world outside: a scripted model API and an order service, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = dict[str, Any] | Callable[[dict[str, Any]], Any]


def says(text: str) -> dict[str, Any]:
    """A model's answer."""
    return _completion({"role": "assistant", "content": text}, "stop")


def calls(*wanted: tuple[str, dict[str, Any] | str], first_id: str = "call_1") -> dict[str, Any]:
    """A model's proposals; arguments that are text are sent as they are."""
    number = int(first_id.rpartition("_")[2])
    made = [
        {
            "id": f"call_{number + i}",
            "type": "function",
            "function": {"name": name, "arguments": a if isinstance(a, str) else json.dumps(a)},
        }
        for i, (name, a) in enumerate(wanted)
    ]
    return _completion({"role": "assistant", "content": None, "tool_calls": made}, "tool_calls")


def _completion(message: dict[str, Any], finish: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


class World:
    """What the outside did: the requests that the model got, and the refunds that were made."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.asked: list[dict[str, Any]] = []
        self.refunds: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.tool_reply: Callable[[BaseHTTPRequestHandler], bool] | None = None
        self.address = ""

    def next_reply(self, body: dict[str, Any]) -> Any:
        """What the model says next; the last reply of the script is repeated."""
        self.asked.append(body)
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return reply(body) if callable(reply) else reply

    def refund(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        """Refund once a key."""
        if key not in self.keys:
            self.keys.append(key)
            self.refunds.append(body)
        return {"status": "refunded", **body}


class Outside(ThreadingHTTPServer):
    """The server of the world of the moment: its address is the same for all tests of a session."""

    daemon_threads = True
    world = World()

    @property
    def address(self) -> str:
        """Where the model API and the order service are."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Outside

    def setup(self) -> None:
        super().setup()
        self.world = self.server.world  # a late answer is still that of its own test

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.world.tool_reply and self.world.tool_reply(self):
            return
        order = self.path.rpartition("/")[2]
        self.answer({"order_id": order, "total_cents": 12_900, "status": "delivered"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/v1/"):
            self.answer(self.world.next_reply(body))
        elif not (self.world.tool_reply and self.world.tool_reply(self)):
            self.answer(self.world.refund(body, self.headers["Idempotency-Key"]))

    def answer(self, value: Any, status: int = 200) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="session")
def outside() -> Iterator[Outside]:
    """One server for all tests; each has a world of its own behind it."""
    with Outside(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def world(outside: Outside, settings: Any) -> World:
    """The outside, reachable because the operator allowed private addresses."""
    settings.ALLOW_PRIVATE_ADDRESSES = True
    outside.world = World()
    outside.world.address = outside.address
    return outside.world
