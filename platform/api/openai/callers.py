"""The only place where a request of the data plane gets its principal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime

import msgspec

from api.authentication import SignInNeeded
from api.connections import DATABASE_SECONDS
from api.openai.exchange import Exchange
from api.openai.problems import ModelUnknown
from runtime.snapshots import ConfigurationUnavailable, Offered, Snapshot, Snapshots
from tenants import middleware
from tenants.keys.issuing import KeyRefused
from tenants.keys.secrets import PresentedKey, parse
from tenants.middleware import HostUnknown
from tenants.principals import Principal


class Caller(msgspec.Struct, frozen=True):
    """Who calls, and what is known of their tenant."""

    principal: Principal
    snapshot: Snapshot


async def caller_of(exchange: Exchange, snapshots: Snapshots) -> Caller:
    """Whom the request's key speaks for.

    Raises HostUnknown, SignInNeeded, ConfigurationUnavailable, and KeyRefused: unknown, revoked,
    foreign to this host and malformed look alike.
    """
    of_host = await _tenant_of(exchange.host, snapshots)
    presented = _presented(exchange)
    if of_host not in {None, presented.tenant}:
        raise KeyRefused
    caller = _known(presented, await _in_time(snapshots.of(presented.tenant)))
    # A key that was made a moment ago is not in the snapshot yet.
    caller = caller or _known(presented, await _in_time(snapshots.newer(presented.tenant)))
    if caller is None:
        raise KeyRefused
    return caller


async def caller_now(exchange: Exchange, snapshots: Snapshots) -> Caller:
    """The same as of now, for what is not recorded. Raises what `caller_of` raises."""
    tenant = _presented(exchange).tenant
    await _in_time(snapshots.newest(tenant))
    return await caller_of(exchange, snapshots)


async def caller_since(exchange: Exchange, snapshots: Snapshots, *, version: int) -> Caller:
    """The same by that version of the configuration or a later one."""
    tenant = _presented(exchange).tenant
    await _in_time(snapshots.since(tenant, version))
    return await caller_of(exchange, snapshots)


async def route_for(model: str, caller: Caller, snapshots: Snapshots) -> Offered:
    """The route that a client calls a model. Raises ModelUnknown."""
    route = caller.snapshot.routes.get(model)
    if route is None:
        newer = await _in_time(snapshots.newer(caller.snapshot.tenant))
        route = newer.routes.get(model) if newer else None
    if route is None:
        raise ModelUnknown(model=model[:100], param="model")
    return route


async def _tenant_of(host: str, snapshots: Snapshots) -> str | None:
    """The slug of the tenant at this host; None at the base domain. Raises HostUnknown."""
    if middleware.is_base(host):
        return None
    if snapshots.tenant_of_host(host) is None:
        # A tenant that was made a moment ago has no host yet; its first label is its slug.
        await _in_time(snapshots.newer(host.partition(".")[0]))
    found = snapshots.tenant_of_host(host)
    if found is None:
        raise HostUnknown
    return found


async def _in_time(looking: Awaitable[Snapshot | None]) -> Snapshot | None:
    """What a look at the configuration finds. A database that is silent never ends one."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            return await looking
    except TimeoutError:
        raise ConfigurationUnavailable from None


def _presented(exchange: Exchange) -> PresentedKey:
    scheme, _, text = exchange.header(b"authorization").partition(" ")
    if scheme.lower() != "bearer":
        raise SignInNeeded
    presented = parse(text.strip())
    if presented is None:
        raise KeyRefused
    return presented


def _known(presented: PresentedKey, snapshot: Snapshot | None) -> Caller | None:
    principal = snapshot.principal_of(presented, now=datetime.now(UTC)) if snapshot else None
    return Caller(principal, snapshot) if snapshot and principal else None
