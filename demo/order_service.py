"""The only place for the demo's order service: a small shop back end of its own, over HTTP.

`python demo/order_service.py --port N --state FILE [--delay-ms M]` prints its address as one line
and serves until SIGTERM. It knows nothing of Countersign; its log is what proves how often a
refund happened.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent.parent))

from demo.order_state import Answer, OrderState, Refund, refusal

STATE = web.AppKey("state", OrderState)
DELAY = web.AppKey("delay", float)
MAX_BODY_BYTES = 16_384
MAX_KEY = 255
MAX_REASON = 500
MAX_ORDER_ID = 40
MAX_AMOUNT = 100_000_000
FIELDS = {"order_id", "amount_cents", "reason"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(state: OrderState, *, delay_seconds: float = 0) -> web.Application:
    """The service as an application; a refund waits half of the delay before and after the act,
    so that whoever kills a process in between finds both cases."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_errors_as_json])
    app[STATE] = state
    app[DELAY] = delay_seconds
    app.router.add_get("/health", _health)
    app.router.add_get("/orders/{order_id}", _order)
    app.router.add_post("/batches", _batch)
    app.router.add_post("/refunds", _refund)
    app.router.add_get("/log", _log)
    return app


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _order(request: web.Request) -> web.Response:
    order_id = request.match_info["order_id"]
    order = await asyncio.to_thread(request.app[STATE].order, order_id)
    if order is None:
        return _response(refusal(404, "order_unknown", f"There is no order {order_id[:40]}."))
    return web.json_response(order)


async def _batch(request: web.Request) -> web.Response:
    numbers = await asyncio.to_thread(request.app[STATE].take_batch)
    return web.json_response({"numbers": numbers}, status=201)


async def _refund(request: web.Request) -> web.Response:
    key = request.headers.get("Idempotency-Key", "")
    if not key or len(key) > MAX_KEY:
        message = f"Send an Idempotency-Key of 1 to {MAX_KEY} characters."
        return _response(refusal(400, "idempotency_key_missing", message))
    asked = _read(await request.read())
    if isinstance(asked, Answer):
        return _response(asked)
    pause = request.app[DELAY] / 2
    await asyncio.sleep(pause)
    state = request.app[STATE]
    answer = await asyncio.to_thread(state.refund, asked, key=key)
    await asyncio.sleep(pause)
    return _response(answer)


async def _log(request: web.Request) -> web.Response:
    return web.json_response({"entries": await asyncio.to_thread(request.app[STATE].log)})


def _read(body: bytes) -> Refund | Answer:
    """The refund that a body asks for, or why it asks for none."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return refusal(400, "malformed_json", "The body is not JSON.")
    if not isinstance(fields, dict) or not fields.keys() <= FIELDS:
        return refusal(422, "invalid_body", f"The body is an object of {sorted(FIELDS)}.")
    amount = fields.get("amount_cents")
    if not isinstance(amount, int) or isinstance(amount, bool) or not 1 <= amount <= MAX_AMOUNT:
        message = f"amount_cents is an integer from 1 to {MAX_AMOUNT}."
        return refusal(422, "invalid_amount", message)
    order_id, reason = fields.get("order_id"), fields.get("reason") or ""
    if not _is_text(order_id, MAX_ORDER_ID) or not order_id or not _is_text(reason, MAX_REASON):
        return refusal(422, "invalid_body", "order_id and reason are strings.")
    return Refund(order_id, amount, reason)


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and value.isprintable()


def _response(answer: Answer) -> web.Response:
    return web.json_response(answer.body, status=answer.status)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """aiohttp's own refusals (404, 405, 413) in this service's form."""
    try:
        return await handler(request)
    except web.HTTPException as refused:
        code = refused.reason.lower().replace(" ", "_")
        return _response(refusal(refused.status, code, f"{refused.status} {refused.reason}"))


async def serve(app: web.Application, port: int) -> None:
    """Serve on loopback until SIGTERM or SIGINT; port 0 takes a free one."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    try:
        await site.start()
    except OSError as taken:
        sys.exit(f"Cannot listen on port {port}: {taken.strerror}")
    host, bound = runner.addresses[0][:2]
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"http://{host}:{bound}", flush=True)
    await ended.wait()
    await runner.cleanup()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="The demo's order service.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--state", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--delay-ms", type=int, default=0, help="how long a refund takes")
    options = parser.parse_args()
    state = OrderState(options.state)
    try:
        asyncio.run(serve(application(state, delay_seconds=options.delay_ms / 1000), options.port))
    finally:
        state.close()


if __name__ == "__main__":
    main()
