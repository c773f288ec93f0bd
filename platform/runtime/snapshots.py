"""The only place that keeps what the data plane knows of a tenant: immutable, replaced as a whole.

A tenant's snapshot is loaded when it is first asked for, and again when the tenant's configuration
version has changed; one query for all tenants looks for that. What is decided by a snapshot is
recorded together with a look at the version (`OWN_VERSION`), and decided anew where that is newer;
what is not recorded asks for the `newest`. So a change holds, in every process, for whatever is
asked after it was committed. A snapshot that can't be confirmed
any more is used for a few seconds; then the tenant's calls are refused: silence denies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from audit.bodies import Subject
from audit.errors import Problem
from gateway.specs import RouteSpec
from governance.policies import CompiledPolicies
from governance.resources import Resource
from tenants.keys.secrets import PresentedKey
from tenants.principals import Principal

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
LONGEST_UNCONFIRMED_SECONDS = 3.0
# The load that is under way may have begun before the change; the next one has not.
LOADS = 3

VERSIONS = """
SELECT tenant.slug, tenant.configuration_version, array_remove(array_agg(domain.domain), NULL)
FROM public.tenants_tenant AS tenant
LEFT JOIN public.tenants_domain AS domain ON domain.tenant_id = tenant.id
WHERE tenant.ready_at IS NOT NULL
GROUP BY tenant.id
"""


VERSION = """
SELECT configuration_version FROM public.tenants_tenant
WHERE slug = %s AND ready_at IS NOT NULL
"""
OWN_VERSION = """
SELECT configuration_version FROM public.tenants_tenant WHERE role_name = current_user
"""


class ConfigurationUnavailable(Problem):
    """Nothing is allowed at the moment: the tenant's configuration can't be read."""

    code = "configuration_unavailable"
    status = 503


class KnownKey(msgspec.Struct, frozen=True):
    """A key that opens the API until `expires_at`, and whom it speaks for."""

    secret_hash: str
    expires_at: datetime | None
    principal: Principal


class Offered(msgspec.Struct, frozen=True):
    """A route as the gateway needs it and as policies see it."""

    spec: RouteSpec
    resource: Resource
    created_at: datetime


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant at one moment. `keys` by public id; `agents` has when each agent was created.

    `subjects` has, by name, the data subject that each holder of a key is. Keys of members hold
    the roles that the member had, and are missing once the member left. `witnesses` are the
    verifier keys of those whose cosignatures count.
    """

    tenant: str
    role: str
    version: int
    keys: Mapping[str, KnownKey]
    subjects: Mapping[str, Subject]
    policies: CompiledPolicies | None
    routes: Mapping[str, Offered]
    agents: Mapping[str, datetime]
    witnesses: tuple[str, ...] = ()

    def principal_of(self, presented: PresentedKey, *, now: datetime) -> Principal | None:
        """Whom a key speaks for at `now`, or None where it opens nothing."""
        key = self.keys.get(presented.public_id)
        if key is None or not presented.matches(key.secret_hash):
            return None
        if key.expires_at is not None and key.expires_at <= now:
            return None
        return key.principal


Load = Callable[[str], Awaitable[Snapshot]]


class _Kept:
    """A snapshot, and when it was last known to be the newest (monotonic seconds)."""

    __slots__ = ("confirmed_at", "snapshot")

    def __init__(self, snapshot: Snapshot, confirmed_at: float) -> None:
        self.snapshot = snapshot
        self.confirmed_at = confirmed_at


class Snapshots:
    """The snapshots of all tenants. Belongs to one event loop; works while `kept_fresh`."""

    def __init__(self, pool: AsyncConnectionPool[Any], load: Load) -> None:
        self._pool = pool
        self._load = load
        self._versions: dict[str, int] = {}
        self._hosts: dict[str, str] = {}
        self._kept: dict[str, _Kept] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._next_poll: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tenant_of_host(self, host: str) -> str | None:
        """The slug of the tenant whose domain `host` is, or None."""
        return self._hosts.get(host)

    async def of(self, tenant: str) -> Snapshot | None:
        """The tenant's snapshot; None for a tenant that there is not.

        Raises ConfigurationUnavailable where it could not be read, or confirmed, for too long.
        """
        kept = self._kept.get(tenant)
        if kept is None:
            if tenant not in self._versions:
                return None
            await asyncio.wait([self._reload(tenant)])
            kept = self._kept.get(tenant)
        if kept is None or monotonic() - kept.confirmed_at > LONGEST_UNCONFIRMED_SECONDS:
            raise ConfigurationUnavailable
        return kept.snapshot

    async def newer(self, tenant: str) -> Snapshot | None:
        """The tenant's snapshot after the next look at the versions.

        For what a snapshot does not know: it may have come into being a moment ago.
        """
        # Shielded, because everybody who waits for this look shares the future.
        await asyncio.shield(self._next_poll)
        if tenant in self._loading:
            await asyncio.wait([self._loading[tenant]])
        return await self.of(tenant)

    async def newest(self, tenant: str) -> Snapshot | None:
        """The tenant's snapshot as of now, at the price of a round trip to the database.

        Raises what `of` raises.
        """
        try:
            async with asyncio.timeout(LONGEST_UNCONFIRMED_SECONDS), self._pool.connection() as one:
                row = await (await one.execute(VERSION, [tenant])).fetchone()
        except (psycopg.Error, PoolTimeout, OSError):
            raise ConfigurationUnavailable from None
        return await self.since(tenant, row[0]) if row else None

    async def since(self, tenant: str, version: int) -> Snapshot | None:
        """The tenant's snapshot of this configuration version, or of a later one.

        Raises what `of` raises.
        """
        for _ in range(LOADS):
            found = await self.of(tenant)
            if found is None or found.version >= version:
                return found
            await asyncio.wait([self._reload(tenant)])
        raise ConfigurationUnavailable

    @contextlib.asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Look for changed versions four times a second as long as the block runs."""
        refreshing = asyncio.create_task(self._refresh_for_ever())
        try:
            yield
        finally:
            tasks = [refreshing, *self._loading.values()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._next_poll.cancel()

    async def _refresh_for_ever(self) -> None:
        while True:
            polled, self._next_poll = self._next_poll, asyncio.get_running_loop().create_future()
            try:
                await self._refresh()
            except (psycopg.Error, PoolTimeout, OSError) as problem:
                # TimeoutError is an OSError. What was confirmed before ages, and then denies.
                logger.warning("the configuration versions can't be read: %s", problem)
            polled.set_result(None)
            await asyncio.sleep(POLL_SECONDS)

    async def _refresh(self) -> None:
        began = monotonic()
        async with asyncio.timeout(LONGEST_UNCONFIRMED_SECONDS), self._pool.connection() as open_:
            rows = await (await open_.execute(VERSIONS)).fetchall()
        self._versions = {slug: version for slug, version, _ in rows}
        self._hosts = {domain: slug for slug, _, domains in rows for domain in domains}
        for tenant in [tenant for tenant in self._kept if tenant not in self._versions]:
            del self._kept[tenant]
        for tenant, kept in self._kept.items():
            if kept.snapshot.version == self._versions[tenant]:
                kept.confirmed_at = began
            else:
                self._reload(tenant)

    def _reload(self, tenant: str) -> asyncio.Task[None]:
        """The task that reads the tenant's snapshot: at most one a tenant."""
        if tenant not in self._loading:
            task = self._loading[tenant] = asyncio.create_task(self._replace(tenant))
            task.add_done_callback(partial(self._loaded, tenant))
        return self._loading[tenant]

    async def _replace(self, tenant: str) -> None:
        began = monotonic()
        self._kept[tenant] = _Kept(await self._load(tenant), began)

    def _loaded(self, tenant: str, task: asyncio.Task[None]) -> None:
        """What is wrong with one tenant ends its task, and neither the others nor the next try."""
        del self._loading[tenant]
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            logger.error("the snapshot of tenant %s can't be loaded", tenant, exc_info=problem)
