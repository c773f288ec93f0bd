"""What an export costs the process that makes it: memory that does not grow with the ledger.

One embedded PostgreSQL in a folder that is thrown away. A ledger is filled through the data plane's
own recording, in batches, and sealed by the sequencer: a tenth of its entries have private parts,
and the first 2,000 are as long as entries can be. Then a process of its own exports and packs it,
once when a tenth is there and once when all is, and says the most memory that it ever held (VmHWM
of /proc: what getrusage says can be an ancestor's). `python bench/export_memory.py [ENTRIES]`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

import psycopg  # noqa: E402
from psycopg_pool import AsyncConnectionPool  # noqa: E402

from audit import archives, sequencer, signing  # noqa: E402
from audit.bodies import Subject  # noqa: E402
from audit.entries import Draft, draft  # noqa: E402
from audit.events import Actor, Event, Private  # noqa: E402
from audit.group_commit import GroupCommit  # noqa: E402
from audit.guard import Guard  # noqa: E402
from audit.ids import new_id  # noqa: E402
from countersign import embedded  # noqa: E402

MILLION = 1_000_000
BATCH = 1_000
RUN = 20
PEOPLE = 200
PRIVATE_ONE_IN = 10
LONGEST = 2_000
ALLOWED_MEGABYTES = 200
TENANT = "acme"


class Confided(Event, kind="bench.confided"):
    """Something of the size of a decision happened, now and then with a private part."""

    digest: str
    action: str
    resource: str
    reasons: list[str]
    arguments: Private[dict[str, str] | None] = None


WORDS = {"words": "Please refund the order of Ada Lovelace. " * 5}


def furnish() -> tuple[str, list[Subject]]:
    """A tenant with a ledger and people that it knows; the tenant's role."""
    import django  # noqa: PLC0415  (its settings are in the environment only now)

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections, transaction  # noqa: PLC0415

    from audit import subjects  # noqa: PLC0415
    from runtime import onboarding  # noqa: PLC0415
    from tenants import isolation  # noqa: PLC0415

    call_command("migrate_schemas", interactive=False, verbosity=0)
    tenant = onboarding.create_tenant(TENANT, name="Acme", now=datetime.now(UTC))
    with isolation.acting_for(tenant), transaction.atomic():
        known = [subjects.of(f"person:{number}") for number in range(PEOPLE)]
    connections.close_all()
    return str(tenant.role_name), known


def drafts(count: int, known: list[Subject], note: str) -> list[Draft]:
    """A batch of entries, in runs."""
    actor, made = Actor(kind="agent", id="refund-desk", version="3"), []
    for number in range(count):
        if number % RUN == 0:
            run = new_id()
        event = Confided(
            digest="a" * 64,
            action="use_tool",
            resource="refund_order",
            reasons=["small-refunds", note],
            arguments=None if number % PRIVATE_ONE_IN else WORDS,
        )
        subject = known[number % len(known)]
        made.append(draft(event, actor=actor, correlation=run, subject=subject))
    return made


async def fill(url: str, role: str, known: list[Subject], count: int, note: str = "") -> None:
    """Record `count` entries through the group commit."""
    async with AsyncConnectionPool(url, kwargs={"autocommit": True}, max_size=4) as pool:
        commits = GroupCommit(pool, answer_seconds=60)
        for begun in range(0, count, 2 * BATCH):
            two = [min(BATCH, max(0, count - begun - at)) for at in (0, BATCH)]
            batches = [commits.record_many(role, drafts(each, known, note)) for each in two]
            await asyncio.gather(*batches)
        await commits.aclose()


def seal(url: str, state: Path) -> None:
    """Seal and publish all that was recorded."""
    key, guard = signing.load(state / "ledger.key"), Guard(state / "guard")
    with psycopg.connect(url, autocommit=True) as connection:
        while sequencer.run_once(connection, key, guard=guard).sealed:
            continue


def export(folder: Path) -> None:
    """Export and pack as a process of its own, and print what it took."""
    import django  # noqa: PLC0415

    django.setup()
    from audit import bundles  # noqa: PLC0415
    from tenants import directory, isolation  # noqa: PLC0415

    before, began = peak(), time.perf_counter()
    with isolation.acting_for(directory.of_slug(TENANT)):
        exported = bundles.export(folder / "bundle", now=datetime.now(UTC))
    exporting, begun = time.perf_counter() - began, time.perf_counter()
    packed = folder / f"bundle{archives.SUFFIX}"
    with packed.open("wb") as file:
        archives.pack(folder / "bundle", file)
    took = {
        "entries": exported.size,
        "megabytes_before": before,
        "megabytes": peak(),
        "exporting_seconds": round(exporting, 1),
        "packing_seconds": round(time.perf_counter() - begun, 1),
        "bundle_megabytes": sum(
            path.stat().st_size for path in (folder / "bundle").rglob("*") if path.is_file()
        )
        >> 20,
        "packed_megabytes": packed.stat().st_size >> 20,
    }
    print(json.dumps(took))


def peak() -> int:
    """The most memory that this process has held so far, in MB."""
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) >> 10


def measured(state: Path) -> dict[str, Any]:
    """What an export of the ledger as it is takes."""
    folder = state / "exported"
    folder.mkdir()
    command = [sys.executable, __file__, "--export", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    shutil.rmtree(folder)
    took: dict[str, Any] = json.loads(done.stdout)
    print(
        f"{took['entries']:>9} entries: {took['megabytes']:>4} MB at most"
        f" ({took['megabytes_before']} MB before), {took['exporting_seconds']} s to export"
        f" {took['bundle_megabytes']} MB, {took['packing_seconds']} s to pack them into"
        f" {took['packed_megabytes']} MB",
        flush=True,
    )
    return took


def main(count: int) -> None:
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
        role, known = furnish()
        found = []
        # As long as there can be, one after the other: a chunk of these would be the most to hold.
        longest = min(LONGEST, count // 20)
        asyncio.run(fill(url, role, known, longest, note="x" * 60_000))
        for more in (count // 10 - longest, count - count // 10):
            began = time.perf_counter()
            asyncio.run(fill(url, role, known, more))
            recorded = time.perf_counter()
            seal(url, state)
            sealed = time.perf_counter()
            took = f"recorded in {recorded - began:.0f} s, sealed in {sealed - recorded:.0f} s"
            print(f"{more:>9} {took}", flush=True)
            found.append(measured(state))
    line = {
        "bench": "export_memory",
        "entries": found[1]["entries"],
        "megabytes": found[1]["megabytes"],
        "of_a_tenth": round(found[1]["megabytes"] / found[0]["megabytes"], 2),
        "within": max(each["megabytes"] for each in found) <= ALLOWED_MEGABYTES,
        "exported_and_packed_per_second": round(
            found[1]["entries"] / (found[1]["exporting_seconds"] + found[1]["packing_seconds"])
        ),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--export"]:
        export(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else MILLION)
