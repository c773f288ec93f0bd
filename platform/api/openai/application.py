"""The only place that maps the data plane's addresses: a small ASGI application before Django's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from api.connections import DATABASE_AWAY, DatabaseUnavailable
from api.openai import agent_answers, bodies, chat_completions, embeddings, listing
from api.openai.callers import Caller, caller_now, caller_of, caller_since, route_for
from api.openai.exchange import Exchange
from api.openai.problems import AddressUnknown, MethodUnknown
from api.parsers import check_charset
from audit.errors import Problem
from runtime.direct_calls import ConfigurationChanged, DirectCalls
from runtime.snapshots import Offered, Snapshots

MODELS = "/v1/models"
METHODS = {"/v1/chat/completions": "POST", "/v1/embeddings": "POST", MODELS: "GET"}


class DataPlane:
    """Answers `/v1/…`. Belongs to the event loop of its snapshots and calls."""

    def __init__(self, snapshots: Snapshots, calls: DirectCalls) -> None:
        self._snapshots = snapshots
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; a problem becomes an error in OpenAI's words."""
        exchange = Exchange(scope, receive, send)
        try:
            await self._answer(exchange)
        except Problem as problem:
            await exchange.refuse(problem)
        except DATABASE_AWAY:
            await exchange.refuse(DatabaseUnavailable())

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.path
        allowed = "GET" if path.startswith(f"{MODELS}/") else METHODS.get(path)
        if allowed is None:
            raise AddressUnknown(path=path[:200])
        if exchange.method != allowed:
            raise MethodUnknown(path=path[:200], allowed=allowed)
        caller = await caller_of(exchange, self._snapshots)
        if path == "/v1/chat/completions":
            await self._chat(exchange, caller)
        elif path == "/v1/embeddings":
            await self._embed(exchange, caller)
        else:
            name = path.removeprefix(MODELS).removeprefix("/")
            caller = await caller_now(exchange, self._snapshots)
            await exchange.answer(listing.body_of(caller.snapshot, name))

    async def _chat(self, exchange: Exchange, caller: Caller) -> None:
        request = bodies.chat(await _json(exchange))
        model: str = request["model"]
        if model.startswith(bodies.AGENT):
            caller = await caller_now(exchange, self._snapshots)
            await agent_answers.answer(exchange, caller, request)
            return

        async def answer(caller: Caller, route: Offered) -> None:
            await chat_completions.answer(exchange, caller, route, request, self._calls)

        await self._judged(exchange, caller, model, answer)

    async def _embed(self, exchange: Exchange, caller: Caller) -> None:
        wanted = bodies.to_embed(await _json(exchange))

        async def answer(caller: Caller, route: Offered) -> None:
            await embeddings.answer(exchange, caller, route, wanted, self._calls)

        await self._judged(exchange, caller, wanted.model, answer)

    async def _judged(
        self,
        exchange: Exchange,
        caller: Caller,
        model: str,
        answer: Callable[[Caller, Offered], Awaitable[None]],
    ) -> None:
        """Answer; anew, from the key on, where the configuration changed while it was judged."""
        for is_last in (False, False, True):
            route = await route_for(model, caller, self._snapshots)
            try:
                await answer(caller, route)
            except ConfigurationChanged as problem:
                if is_last:
                    raise
                caller = await caller_since(exchange, self._snapshots, version=problem.version)
            else:
                return


async def _json(exchange: Exchange) -> bytes:
    """The body, which is to be JSON in UTF-8. Raises CharsetUnsupported, BodyTooLarge."""
    check_charset(exchange.header(b"content-type"))
    return await exchange.body()
