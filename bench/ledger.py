"""What the ledger costs, as ratios within one run: recording, sealing, verifying, proving.

One embedded PostgreSQL in a folder that is thrown away, fsync on; 16 writers, each a connection
that commits by itself. The rounds of all ways alternate, and the median round counts. A plain
INSERT and a hash chain under an advisory lock keep the same bytes as an entry's payload; the chain
reads the last hash, hashes and inserts, as an application does, and the ideal one has the database
do it all in one statement. An entry is recorded as the product does it: `own commit` is a
transaction of the caller's, `group commit` the data plane's.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

import psycopg  # noqa: E402
from psycopg_pool import AsyncConnectionPool  # noqa: E402

from audit import archives, sequencer, signing, tiles  # noqa: E402
from audit.checkpoints import Checkpoint, sign  # noqa: E402
from audit.entries import draft, recording  # noqa: E402
from audit.events import SYSTEM, Event  # noqa: E402
from audit.group_commit import GroupCommit  # noqa: E402
from audit.guard import Guard  # noqa: E402
from audit.proofs import prove_inclusion  # noqa: E402
from audit.tlog_proof import TlogProof  # noqa: E402
from countersign import embedded  # noqa: E402

WRITERS = 16
ROUNDS = 5
SECONDS = 1.5
BATCH = 10
PACE = 1_000
PACED_SECONDS = 10
MILLION = 1_000_000
# The ideal hash chain, hashed by the database in one statement.
CHAINED = """
WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(1)),
last AS (SELECT hash FROM chain, turn ORDER BY id DESC LIMIT 1)
INSERT INTO chain (payload, hash)
SELECT %(payload)s, sha256(coalesce((SELECT hash FROM last), '') || %(payload)s) FROM turn
"""
LAGS = """
SELECT extract(epoch FROM sealed.created_at - entry.recorded_at)
FROM audit.entry JOIN audit.leaf ON leaf.entry_id = entry.id
CROSS JOIN LATERAL (
    SELECT created_at FROM audit.checkpoint
    WHERE log_id = entry.log_id AND size > leaf.index ORDER BY size LIMIT 1
) AS sealed
WHERE entry.recorded_at > %s
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


class Measured:
    """Rates (a second) and acknowledgements (seconds) of one way to write, round by round."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.waits: list[float] = []

    @property
    def rate(self) -> float:
        """The median round's."""
        return statistics.median(self.rates)

    @property
    def wait(self) -> float:
        """The median round's p50."""
        return statistics.median(self.waits)


async def measure(write: Write, into: Measured) -> None:
    """One round: 16 writers for a while."""
    waits: list[float] = []
    began = time.perf_counter()

    async def writer(number: int) -> None:
        while (start := time.perf_counter()) < began + SECONDS:
            await write(number)
            waits.append(time.perf_counter() - start)

    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    into.rates.append(len(waits) / (time.perf_counter() - began))
    into.waits.append(statistics.median(waits))


class Writers:
    """The ways to keep a row: each writer has a connection of each kind."""

    def __init__(self, url: str, role: str) -> None:
        self._url, self._role = url, role
        self._payload = draft(HAPPENED, actor=SYSTEM).payload

    async def open(self, commits: GroupCommit) -> None:
        """Connect."""
        connect = psycopg.AsyncConnection.connect
        self._logins = [await connect(self._url, autocommit=True) for _ in range(WRITERS)]
        self._tenants = [await connect(self._url, autocommit=True) for _ in range(WRITERS)]
        self._commits = commits
        for connection in self._tenants:
            await connection.execute("SELECT set_config('role', %s, false)", [self._role])

    async def close(self) -> None:
        """Disconnect."""
        for connection in (*self._logins, *self._tenants):
            await connection.close()

    def ways(self) -> dict[str, Write]:
        """Each way to write, by name."""
        return {
            "plain INSERT": self._plain,
            "hash chain": self._chain,
            "ideal chain": self._ideal_chain,
            "own commit": self._own,
            "ten a commit": self._ten,
            "group commit": self._group,
        }

    async def _plain(self, number: int) -> None:
        query = "INSERT INTO plain (payload) VALUES (%s)"
        await self._logins[number].execute(query, [self._payload])

    async def _chain(self, number: int) -> None:
        connection = self._logins[number]
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(1)")
            found = await connection.execute("SELECT hash FROM chain ORDER BY id DESC LIMIT 1")
            last = await found.fetchone() or (b"",)
            made = sha256(last[0] + self._payload).digest()
            query = "INSERT INTO chain (payload, hash) VALUES (%s, %s)"
            await connection.execute(query, [self._payload, made])

    async def _ideal_chain(self, number: int) -> None:
        await self._logins[number].execute(CHAINED, {"payload": self._payload})

    async def _own(self, number: int) -> None:
        await self._tenants[number].execute(*recording([draft(HAPPENED, actor=SYSTEM)]))

    async def _ten(self, number: int) -> None:
        drafts = [draft(HAPPENED, actor=SYSTEM) for _ in range(BATCH)]
        await self._tenants[number].execute(*recording(drafts))

    async def _group(self, _: int) -> None:
        await self._commits.record(self._role, HAPPENED, actor=SYSTEM)


async def compare(url: str, role: str) -> dict[str, Measured]:
    """The ways to keep a row, with their rounds alternating."""
    writers = Writers(url, role)
    measured = {name: Measured() for name in writers.ways()}
    async with AsyncConnectionPool(url, kwargs={"autocommit": True}, max_size=8) as pool:
        commits = GroupCommit(pool)
        await writers.open(commits)
        for _ in range(ROUNDS):
            for name, write in writers.ways().items():
                await measure(write, measured[name])
        await commits.aclose()
    await writers.close()
    return measured


def furnish(url: str) -> str:
    """A tenant with a ledger, and the tables to compare with; the tenant's role."""
    import django  # noqa: PLC0415  (its settings are in the environment only now)

    django.setup()
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


def seal(url: str, state: Path) -> float:
    """Entries sealed a second, of what was recorded."""
    key, guard = signing.load(state / "ledger.key"), Guard(state / "guard")
    sealed, began = 0, time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        while (cycle := sequencer.run_once(connection, key, guard=guard)).sealed:
            sealed += cycle.sealed
    return sealed / (time.perf_counter() - began)


def lag(url: str, state: Path, role: str) -> float:
    """The p99 of the seconds from recorded to published, at a steady pace of entries."""
    from audit.management.commands import run_sequencer  # noqa: PLC0415

    stop = threading.Event()
    key, guard = signing.load(state / "ledger.key"), Guard(state / "guard")
    parameters = run_sequencer.connection_parameters()
    sealing = threading.Thread(
        target=run_sequencer.run, args=(stop, lambda: [key], guard, parameters)
    )
    sealing.start()
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            (began_at,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
            asyncio.run(_paced(url, role))
            time.sleep(1)
            connection.execute("SELECT set_config('role', %s, false)", [role])
            found = connection.execute(LAGS, [began_at]).fetchall()
    finally:
        stop.set()
        sealing.join()
    lags = [float(seconds) for (seconds,) in found]
    assert len(lags) > PACE * PACED_SECONDS * 0.9
    return statistics.quantiles(lags, n=100)[98]


async def _paced(url: str, role: str) -> None:
    async with AsyncConnectionPool(url, kwargs={"autocommit": True}, max_size=8) as pool:
        commits = GroupCommit(pool)
        began, tasks = time.perf_counter(), []
        for number in range(PACE * PACED_SECONDS):
            due = began + number / PACE
            if due > time.perf_counter():
                await asyncio.sleep(due - time.perf_counter())
            tasks.append(asyncio.create_task(commits.record(role, HAPPENED, actor=SYSTEM)))
        await asyncio.gather(*tasks)


def export_and_verify(state: Path) -> tuple[int, float, float]:
    """Entries in a bundle, exported a second, verified a second of one core."""
    from audit import bundles  # noqa: PLC0415
    from audit.verify import checks  # noqa: PLC0415
    from tenants import directory, isolation  # noqa: PLC0415

    folder = state / "bundle"
    began = time.perf_counter()
    with isolation.acting_for(directory.of_slug("acme")):
        exported = bundles.export(folder, now=datetime.now(UTC))
    with (state / f"bundle{archives.SUFFIX}").open("wb") as file:
        archives.pack(folder, file)
    exporting = exported.size / (time.perf_counter() - began)
    rates = []
    for _ in range(ROUNDS):
        began = time.process_time()
        report = checks.verify(folder, now=datetime.now(UTC))
        rates.append(exported.size / (time.process_time() - began))
        assert report.verdict == "whole", report
    return exported.size, exporting, statistics.median(rates)


def proof_bytes(state: Path) -> int:
    """The size of a proof in a log of a million entries."""
    tiling = tiles.Tiling()
    filled = tiling.extend([sha256(str(number).encode()).digest() for number in range(MILLION)])
    stored = {(tile.level, tile.index, tiles.WIDTH): tile.hashes for tile in filled}
    for tile, hashes in tiling.partial_tiles():
        stored[tile.level, tile.index, tile.width] = hashes
    root = tiles.range_root(MILLION, lambda *where: stored[where])
    checkpoint = Checkpoint("localhost/acme", MILLION, tiling.frontier().root())
    note = sign(checkpoint, signing.load(state / "ledger.key"))
    return len(str(TlogProof(7, prove_inclusion(7, MILLION, root), note)))


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
        measured = asyncio.run(compare(url, role))
        _print(measured)
        sealing = seal(url, state)
        p99 = lag(url, state, role)
        size, exporting, verifying = export_and_verify(state)
        proof = proof_bytes(state)
    print(f"sealing              {sealing:>9.0f} entries/s")
    print(f"recorded to published{p99:>9.3f} s p99 at {PACE} entries/s")
    print(f"exporting and packing{exporting:>9.0f} entries/s of {size}")
    print(f"verifying            {verifying:>9.0f} entries/s of one core")
    print(f"a proof of a million {proof:>9} bytes")
    plain, own = measured["plain INSERT"], measured["own commit"]
    line = {
        "bench": "ledger",
        "of_plain_insert": round(own.rate / plain.rate, 2),
        "of_hash_chain": round(own.rate / measured["hash chain"].rate, 2),
        "of_ideal_chain": round(own.rate / measured["ideal chain"].rate, 2),
        "acknowledgement_of_plain_insert": round(own.wait / plain.wait, 2),
        "group_commit_of_plain_insert": round(measured["group commit"].rate / plain.rate, 2),
        "ten_of_single": round(BATCH * measured["ten a commit"].rate / own.rate, 2),
        "sealed_per_second": round(sealing),
        "published_p99_seconds": round(p99, 3),
        "exported_per_second": round(exporting),
        "verified_per_second": round(verifying),
        "proof_bytes": proof,
    }
    print(json.dumps(line))


def _print(measured: dict[str, Measured]) -> None:
    print(f"{WRITERS} writers, one tenant, median of {ROUNDS} rounds of {SECONDS} s")
    plain = measured["plain INSERT"]
    for name, each in measured.items():
        shown = f"{name:>14} {each.rate:>8.0f} commits/s {each.rate / plain.rate:>6.2f}"
        print(f"{shown} of a plain INSERT; p50 {each.wait * 1000:.2f} ms")


if __name__ == "__main__":
    main()
