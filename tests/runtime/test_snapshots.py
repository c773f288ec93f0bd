"""What the data plane knows of a tenant: read in one piece, replaced as a whole, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from cast import Cast

from runtime import snapshot_loading, snapshots
from runtime.snapshots import ConfigurationUnavailable, Snapshot, Snapshots
from tenants import members
from tenants.keys import issuing
from tenants.keys.secrets import PresentedKey, parse
from tenants.models import Tenant


def presented(secret: str) -> PresentedKey:
    found = parse(secret)
    assert found is not None
    return found


def version_of(cast: Cast) -> int:
    return Tenant.objects.get(pk=cast.tenant.pk).configuration_version


# Read from rows.


def test_a_service_key_speaks_for_its_client_app(committed_acme: Cast, now: datetime) -> None:
    key, secret = issuing.issue_service_key("robo", by=committed_acme.alice, now=now)
    snapshot = snapshot_loading.read(now=now)
    principal = snapshot.principal_of(presented(secret), now=now)
    assert principal is not None
    assert (principal.kind, principal.id, principal.tenant) == ("client_app", key.public_id, "acme")
    assert (snapshot.role, snapshot.version) == (
        committed_acme.tenant.role_name,
        version_of(committed_acme),
    )
    assert snapshot.policies is not None


def test_a_member_token_has_the_members_roles_until_it_expires(
    committed_acme: Cast, now: datetime
) -> None:
    _, secret = issuing.issue_member_token(committed_acme.bob, now=now)
    snapshot = snapshot_loading.read(now=now)
    bob = msgspec.structs.replace(committed_acme.bob, means="token")
    assert snapshot.principal_of(presented(secret), now=now) == bob
    later = now + issuing.MEMBER_TOKEN_LIFE
    assert snapshot.principal_of(presented(secret), now=later) is None
    assert snapshot.principal_of(presented(secret), now=later - timedelta(seconds=1)) is not None


def test_a_revoked_or_expired_key_and_a_wrong_secret_open_nothing(
    committed_acme: Cast, now: datetime
) -> None:
    key, secret = issuing.issue_service_key("robo", by=committed_acme.alice, now=now)
    wrong = presented(secret[:-48] + "0" * 48)
    assert snapshot_loading.read(now=now).principal_of(wrong, now=now) is None
    issuing.revoke(key.public_id, by=committed_acme.alice, now=now)
    assert snapshot_loading.read(now=now).principal_of(presented(secret), now=now) is None


def test_every_change_of_a_member_is_a_new_version(committed_acme: Cast, now: datetime) -> None:
    alice = committed_acme.alice
    _, secret = _token_of_ivan(committed_acme, now)
    before = version_of(committed_acme)
    (ivan,) = [p for p in members.principals().values() if p.name == "Ivan"]
    members.set_roles(UUID(ivan.id), ["reviewer"], by=alice)
    assert version_of(committed_acme) > before
    promoted = snapshot_loading.read(now=now).principal_of(presented(secret), now=now)
    assert promoted is not None
    assert promoted.roles == {"reviewer"}
    before = version_of(committed_acme)
    members.remove(UUID(ivan.id), by=alice)
    assert version_of(committed_acme) > before
    assert snapshot_loading.read(now=now).principal_of(presented(secret), now=now) is None


def _token_of_ivan(cast: Cast, now: datetime) -> tuple[Any, str]:
    ivan = members.add(
        "ivan.snapshot@acme.test",
        name="Ivan",
        password="a long enough passphrase",
        roles=["viewer"],
        actor=cast.alice.actor,
        now=now,
    )
    principal = members.principal_of(ivan.user_id)
    assert principal is not None
    return issuing.issue_member_token(principal, now=now)


# Kept fresh.


class Versions:
    """A database that knows versions, or is not there. It stands in for the pool."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, list[str]]] = [("acme", 1, ["acme.localhost"])]
        self.is_there = True

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Versions]:
        if not self.is_there:
            raise psycopg.OperationalError("gone")
        yield self

    async def execute(self, query: str) -> Versions:
        return self

    async def fetchall(self) -> list[tuple[str, int, list[str]]]:
        return self.rows


class House:
    """The snapshots under test, what they load, and how often."""

    def __init__(self) -> None:
        self.versions = Versions()
        self.loads: list[str] = []
        self.loads_fail = False
        self.kept = Snapshots(self.versions, self.load)  # type: ignore[arg-type]

    async def load(self, tenant: str) -> Snapshot:
        self.loads.append(tenant)
        await asyncio.sleep(0)
        if self.loads_fail:
            raise RuntimeError("broken rows")
        (version,) = [version for slug, version, _ in self.versions.rows if slug == tenant]
        return Snapshot(
            tenant=tenant,
            role="r",
            version=version,
            keys={},
            subjects={},
            policies=None,
            routes={},
            agents={},
        )

    async def version(self, tenant: str = "acme") -> int:
        found = await self.kept.newer(tenant)
        assert found is not None
        return found.version


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(snapshots, "LONGEST_UNCONFIRMED_SECONDS", 0.2)


async def test_a_snapshot_is_loaded_once_for_all_who_ask_and_again_when_it_changes() -> None:
    house = House()
    async with house.kept.kept_fresh():
        assert await house.version() == 1
        await asyncio.gather(*(house.kept.of("acme") for _ in range(10)))
        assert house.loads == ["acme"]
        house.versions.rows = [("acme", 2, [])]
        assert await house.version() == 2
        assert house.loads == ["acme", "acme"]


async def test_hosts_are_known_and_a_tenant_that_there_is_not_has_no_snapshot() -> None:
    house = House()
    async with house.kept.kept_fresh():
        assert await house.kept.newer("globex") is None
        assert house.kept.tenant_of_host("acme.localhost") == "acme"
        assert house.kept.tenant_of_host("globex.localhost") is None
        assert await house.version() == 1
        house.versions.rows = []
        assert await house.kept.newer("acme") is None


async def test_when_versions_cannot_be_read_the_old_snapshot_serves_a_while_and_then_denies() -> (
    None
):
    house = House()
    async with house.kept.kept_fresh():
        assert await house.version() == 1
        house.versions.is_there = False
        assert await house.version() == 1
        await asyncio.sleep(0.3)
        with pytest.raises(ConfigurationUnavailable):
            await house.kept.of("acme")
        house.versions.is_there = True
        assert await house.version() == 1


async def test_a_tenant_that_cannot_be_loaded_is_denied_and_the_others_are_not() -> None:
    house = House()
    house.versions.rows = [("acme", 1, []), ("globex", 1, [])]
    async with house.kept.kept_fresh():
        assert [await house.version(), await house.version("globex")] == [1, 1]
        house.loads_fail = True
        house.versions.rows = [("acme", 2, []), ("globex", 1, [])]
        assert await house.version() == 1
        await asyncio.sleep(0.3)
        with pytest.raises(ConfigurationUnavailable):
            await house.kept.of("acme")
        assert await house.version("globex") == 1
        house.loads_fail = False
        assert await house.version() == 2


async def test_nothing_keeps_running_afterwards() -> None:
    house = House()
    async with house.kept.kept_fresh():
        await house.version()
    assert len(asyncio.all_tasks()) == 1
