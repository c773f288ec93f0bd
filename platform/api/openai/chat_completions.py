"""The only place that answers a chat request from a model: whole, or as server-sent events."""

from __future__ import annotations

import contextlib
from typing import Any

from api.openai.callers import Caller
from api.openai.exchange import Exchange, json_of
from audit.errors import Problem
from runtime import direct_calls
from runtime.direct_calls import BegunCall, DirectCalls
from runtime.snapshots import Offered


async def answer(
    exchange: Exchange, caller: Caller, route: Offered, request: dict[str, Any], calls: DirectCalls
) -> None:
    """Ask the route's model, once that is decided and recorded. Raises what came to no answer."""
    call = direct_calls.ask(
        request,
        route=route,
        principal=caller.principal,
        snapshot=caller.snapshot,
        correlation=exchange.id,
    )
    begun = await calls.admit(call)
    if request.get("stream"):
        async with exchange.while_connected():
            await _stream(exchange, begun, request)
        return
    completion = await begun.complete(request)
    await exchange.answer(json_of(completion.response))


async def _stream(exchange: Exchange, begun: BegunCall, request: dict[str, Any]) -> None:
    """Pass the chunks on. What fails before the first one is raised; later it ends the events."""
    async with contextlib.aclosing(begun.stream(request)) as chunks:
        first = await anext(chunks, None)
        await exchange.begin_events()
        try:
            if first is not None:
                await exchange.event(first)
            async for chunk in chunks:
                await exchange.event(chunk)
        except Problem as problem:
            await exchange.end_events(problem)
        else:
            await exchange.end_events()
