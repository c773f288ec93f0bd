"""The only place that bounds the size of a request's body, for every address."""

from __future__ import annotations

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from audit.errors import Problem


class BodyTooLarge(Problem):
    """The request's body is larger than {limit} bytes."""

    code = "body_too_large"
    status = 413


class BodyLimit:
    """Raises BodyTooLarge inside the application as soon as it would read too much.

    Content-Length is believed before a byte is read, and the bytes are counted as they come. What
    an application does not answer itself is answered here, as a problem.
    """

    def __init__(self, application: ASGIApp, *, limit: int) -> None:
        self._application = application
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a bounded body."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        try:
            await self._application(scope, self._bounded(scope, receive), send)
        except BodyTooLarge as problem:
            await _answer(problem, send)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        size = 0 if _announced(scope) <= self._limit else self._limit + 1

        async def bounded() -> Message:
            nonlocal size
            if size > self._limit:
                raise BodyTooLarge(limit=self._limit)
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limit:
                raise BodyTooLarge(limit=self._limit)
            return message

        return bounded


def _announced(scope: Scope) -> int:
    """The Content-Length; the server has refused one that is no number."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


async def _answer(problem: BodyTooLarge, send: Send) -> None:
    body = orjson.dumps(problems.body_of(problem))
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
