"""What recording costs: entries of the ledger beside plain INSERTs of the same bytes.

One embedded PostgreSQL in a folder that is thrown away, fsync on; 16 writers, each a connection
that commits every row by itself. The rounds of the three ways alternate, and the median round
counts. The group commit is the data plane's; sealing and verifying are measured on what it wrote.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

import psycopg  # noqa: E402
from psycopg_pool import AsyncConnectionPool  # noqa: E402

from audit.entries import draft  # noqa: E402
from audit.events import SYSTEM, Event  # noqa: E402
from audit.group_commit import GroupCommit  # noqa: E402
from countersign import embedded  # noqa: E402

WRITERS = 16
ROUNDS = 5
SECONDS = 1.5
HASH_CHAIN = """
WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(1)),
last AS (SELECT hash FROM chain, turn ORDER BY id DESC LIMIT 1)
INSERT INTO chain (payload, hash)
SELECT %(payload)s, sha256(coalesce((SELECT hash FROM last), '') || %(payload)s) FROM turn
"""

Write = Callable[[int], Awaitable[Any]]


class Happened(Event, kind="bench.happened"):
    """Something of the size of a decision happened."""

    digest: str
    action: str
    resource: str
    reasons: list[str]


HAPPENED = Happened(
    digest="a" * 64, action="use_tool", resource="refund_order", reasons=["small-refunds"] * 4
)


async def rate(write: Write) -> float:
    """Acknowledged writes a second of 16 writers."""
    done, deadline = 0, time.perf_counter() + SECONDS

    async def writer(number: int) -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            await write(number)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    return done / (time.perf_counter() - began)


async def compare(url: str, role: str) -> dict[str, float]:
    """The median rates of the three ways to keep a row."""
    connect = psycopg.AsyncConnection.connect
    connections = [await connect(url, autocommit=True) for _ in range(WRITERS)]
    payload = draft(HAPPENED, actor=SYSTEM).payload
    async with AsyncConnectionPool(url, kwargs={"autocommit": True}, max_size=8) as pool:
        commits = GroupCommit(pool)

        async def plain(number: int) -> None:
            await connections[number].execute("INSERT INTO plain (payload) VALUES (%s)", [payload])

        async def chain(number: int) -> None:
            await connections[number].execute(HASH_CHAIN, {"payload": payload})

        async def entry(_: int) -> None:
            await commits.record(role, HAPPENED, actor=SYSTEM)

        ways: dict[str, Write] = {"plain INSERT": plain, "hash chain": chain, "ledger": entry}
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, write in ways.items():
                rates[name].append(await rate(write))
        await commits.aclose()
    for connection in connections:
        await connection.close()
    return {name: statistics.median(each) for name, each in rates.items()}


def furnish(url: str) -> str:
    """A tenant with a ledger, and the tables to compare with; the tenant's role."""
    import django  # noqa: PLC0415  (its settings are in the environment only now)

    django.setup()
    from datetime import UTC, datetime  # noqa: PLC0415

    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    from runtime import onboarding  # noqa: PLC0415

    call_command("migrate_schemas", interactive=False, verbosity=0)
    tenant = onboarding.create_tenant("acme", name="Acme", now=datetime.now(UTC))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE plain (id bigserial PRIMARY KEY, payload bytea)")
        connection.execute(
            "CREATE TABLE chain (id bigserial PRIMARY KEY, payload bytea, hash bytea)"
        )
    connections.close_all()
    return str(tenant.role_name)


def seal_and_verify(url: str, state: Path, role: str) -> tuple[float, float]:
    """Entries sealed a second, and entries verified a second, of what was recorded."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from audit import bundles, sequencer, signing  # noqa: PLC0415
    from audit.verify import checks  # noqa: PLC0415
    from tenants import directory, isolation  # noqa: PLC0415

    key = signing.load(state / "ledger.key")
    sealed, began = 0, time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        while (cycle := sequencer.run_once(connection, key)).sealed:
            sealed += cycle.sealed
    sealing = sealed / (time.perf_counter() - began)
    with isolation.acting_for(directory.of_slug("acme")):
        exported = bundles.export(state / "bundle", now=datetime.now(UTC))
    began = time.perf_counter()
    assert checks.verify(state / "bundle").verdict == "whole"
    return sealing, exported.size / (time.perf_counter() - began)


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    with tempfile.TemporaryDirectory() as folder, embedded.server(Path(folder) / "pg") as url:
        state = Path(folder)
        state.chmod(0o755)
        os.environ.update(
            DATABASE_URL=url,
            SECRET_KEY=secrets.token_urlsafe(50),
            COUNTERSIGN_STATE_DIRECTORY=folder,
            DJANGO_SETTINGS_MODULE="countersign.settings",
        )
        role = furnish(url)
        rates = asyncio.run(compare(url, role))
        sealing, verifying = seal_and_verify(url, state, role)
    plain, chain, ledger = rates["plain INSERT"], rates["hash chain"], rates["ledger"]
    print(f"{WRITERS} writers, one tenant, median of {ROUNDS} rounds of {SECONDS} s")
    for name, each in rates.items():
        print(f"{name:>14} {each:>9.0f} rows/s {each / plain:>7.2f} of a plain INSERT")
    print(f"{'sealing':>14} {sealing:>9.0f} entries/s")
    print(f"{'verifying':>14} {verifying:>9.0f} entries/s")
    line = {
        "bench": "ledger",
        "of_plain_insert": round(ledger / plain, 2),
        "of_hash_chain": round(ledger / chain, 2),
        "sealed_per_second": round(sealing),
        "verified_per_second": round(verifying),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
