"""The only place that composes the web process: the data plane, static files and Django, in one.

`/v1/…` never enters Django's handler; `/static/…` is served from STATIC_ROOT; the rest is Django's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import select
from collections.abc import AsyncIterator
from typing import Any, cast

import psycopg
from django.core.asgi import get_asgi_application
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import Response
from starlette.routing import Mount, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countersign.settings")
django = get_asgi_application()

# Only a Django that is set up has models, which these import.
from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from api.openai.application import DataPlane  # noqa: E402
from audit.group_commit import GroupCommit  # noqa: E402
from countersign import checks  # noqa: E402
from countersign.body_limit import BodyLimit  # noqa: E402
from countersign.celery import app as queue  # noqa: E402
from gateway import connections  # noqa: E402
from runtime import snapshot_loading  # noqa: E402
from runtime.direct_calls import DirectCalls  # noqa: E402
from runtime.snapshots import OWN_VERSION, Snapshots  # noqa: E402

CONNECTIONS = 8
# A ledger or a configuration that takes longer counts as one that is not there.
DATABASE_SECONDS = 5

# Every thread sends to this queue; without it only the one that made it would.
queue.set_default()


class CachedStaticFiles(StaticFiles):
    """Static files, which browsers keep for an hour and then ask whether they changed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The file, or that the browser's copy is still right."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=3600"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _pool() -> AsyncConnectionPool[Any]:
    """The data plane's connections to Django's database: in autocommit, as the login role."""
    database = settings.DATABASES["default"]
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host"}
    names["PORT"] = "port"
    known = {names[key]: value for key, value in database.items() if key in names and value}
    options = {key: value for key, value in database["OPTIONS"].items() if key != "pool"}
    return AsyncConnectionPool(
        make_conninfo(**known, **options),
        kwargs={"autocommit": True},
        min_size=2,
        max_size=CONNECTIONS,
        timeout=DATABASE_SECONDS,
        configure=_configure,
        check=_check,
        open=False,
    )


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    milliseconds = str(DATABASE_SECONDS * 1_000)
    await connection.execute("SELECT set_config('statement_timeout', %s, false)", [milliseconds])


async def _check(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let the pool replace a connection to a server that was restarted meanwhile.

    Of one that nobody uses there is something to read when it was cut off, and hardly otherwise:
    only then is the server asked, which takes a round trip.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)


def _refuse_unsafe() -> None:
    try:
        checks.refuse_unsafe()
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[dict[str, DataPlane]]:
    """Open what the data plane stands on; close it in the reverse order, settlements first.

    Raises ImproperlyConfigured for an unsafe configuration; the server then ends.
    """
    await asyncio.to_thread(_refuse_unsafe)
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(_pool())
        stack.push_async_callback(connections.close)
        commits = GroupCommit(pool, beside=OWN_VERSION)
        stack.push_async_callback(commits.aclose)
        snapshots = Snapshots(
            pool, lambda tenant: snapshot_loading.load(tenant, now=timezone.now())
        )
        await stack.enter_async_context(snapshots.kept_fresh())
        calls = DirectCalls(commits, longest_wait=settings.LEDGER_WAIT_IN_PLACE)
        stack.push_async_callback(calls.aclose)
        # What is loaded by now lives as long as the process, so no collection need look at it:
        # in a heap of this size each would stop every request for a tenth of a second.
        gc.collect()
        gc.freeze()
        yield {"data_plane": DataPlane(snapshots, calls)}


async def _data_plane(scope: Scope, receive: Receive, send: Send) -> None:
    await scope["state"]["data_plane"](scope, receive, send)


_static_files = CachedStaticFiles(directory=settings.STATIC_ROOT, check_dir=False)

application = BodyLimit(
    Router(
        [
            Mount("/v1", app=_data_plane),
            Mount("/static", app=ExceptionMiddleware(_static_files)),
            Mount("/", app=cast("ASGIApp", django)),
        ],
        lifespan=lifespan,
    ),
    limit=settings.MAX_BODY_BYTES,
)
