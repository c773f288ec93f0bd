"""Whether the ledger keeps its promises while its processes are killed (SIGKILL) at random moments.

One embedded PostgreSQL in a folder that is thrown away, two tenants, and the sequencer's process
as an operator starts it, with a sink for its checkpoints. Writers record in every way there is, and
what they were told is remembered outside of the database. Meanwhile the sequencer is killed, or
PostgreSQL with all its processes, which then recovers. At the end everything is sealed and the
ledgers are judged: nothing acknowledged is lost, nothing is doubled, there is no gap, and whatever
was signed is one history. The exit code is 1 where a promise is broken.

`--careless`: the writers' commits do not wait for the disk (synchronous_commit = off), and only
PostgreSQL is killed. Entries are lost then, and must be missed: so it is known that they can be.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import secrets
import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from countersign import embedded  # noqa: E402

if TYPE_CHECKING:
    from uuid import UUID

    from crashing.killing import Killing
    from crashing.writing import Attempt

    from tenants.models import Tenant

KILLS = 100
OF_POSTGRES = 0.3
TENANTS = ("acme", "globex")
CARELESS = "&options=-c%20synchronous_commit%3Doff"
MOST_SHOWN = 20


def main() -> None:
    """Print a table, a line of JSON, and each promise that is broken."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        state.chmod(0o755)
        (state / "outside").mkdir()
        with embedded.server(state / "pg") as url:
            os.environ.update(
                DATABASE_URL=url,
                SECRET_KEY=secrets.token_urlsafe(50),
                COUNTERSIGN_STATE_DIRECTORY=folder,
                COUNTERSIGN_CHECKPOINT_SINK=f"file://{state / 'outside'}",
                DJANGO_SETTINGS_MODULE="countersign.settings",
            )
            figures, broken = crash(state, url, options.kills, careless=options.careless)
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):>45}  {value}")
    print(json.dumps({"bench": "ledger_crash", **figures, "broken": len(broken)}))
    if broken:
        raise SystemExit("\n".join(["The ledger broke its promises.", *broken[:MOST_SHOWN]]))


def crash(state: Path, url: str, kills: int, *, careless: bool) -> tuple[dict[str, Any], list[str]]:
    """Write, kill, catch up and judge; what was counted, and the promises that are broken."""
    tenants = furnish()
    from crashing.killing import Killing, Sequencer, Server, wait_until  # noqa: PLC0415
    from crashing.writing import Diary, Writers  # noqa: PLC0415

    server, diary, stop = Server(state / "pg", url), Diary(), threading.Event()
    with Sequencer(state) as sequencer:
        killing = Killing(server, sequencer, diary)
        way = url + CARELESS if careless else url
        writers = [Writers(tenant, way, diary, stop) for tenant in tenants]
        try:
            wait_until(lambda: server.standing().published > 0, "Nothing was published")
            for number, what in enumerate(_order(kills, careless=careless), start=1):
                killing.kill(what)
                print(f"{number} of {kills}: {what}", file=sys.stderr)
        finally:
            stop.set()
            for each in writers:
                each.join()
        wait_until(lambda: server.standing().is_done, "Not everything was published")
        sequencer.stop()
    judged, broken = judge(url, tenants, state, diary.attempts)
    complaints = {"complaints_of_the_sequencer": len(sequencer.complaints)}
    return {**_of_kills(killing), **judged, **complaints}, broken


def furnish() -> list[Tenant]:
    """The tenants, each with its ledger."""
    import django  # noqa: PLC0415  (its settings are in the environment only now)

    django.setup()
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # connections break: that is the point
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    from runtime import onboarding  # noqa: PLC0415

    call_command("migrate_schemas", interactive=False, verbosity=0)
    now = datetime.now(UTC)
    made = [onboarding.create_tenant(slug, name=slug.title(), now=now) for slug in TENANTS]
    connections.close_all()
    return made


def judge(
    url: str, tenants: Sequence[Tenant], state: Path, attempts: Sequence[Attempt]
) -> tuple[dict[str, Any], list[str]]:
    """What is there in the end, counted, and the promises that are broken."""
    import psycopg  # noqa: PLC0415
    from crashing.promises import Judge  # noqa: PLC0415

    kept: set[UUID] = set()
    sizes: Counter[str] = Counter()
    broken: list[str] = []
    for tenant in tenants:
        with psycopg.connect(url, autocommit=True) as connection:
            each = Judge(connection, tenant, state)
            broken += [f"{tenant.slug}: {sentence}" for sentence in each.broken(attempts)]
            kept |= each.kept()
            sizes.update(each.sizes())
    return {**_of_attempts(attempts, kept), **sizes}, broken


def _order(kills: int, *, careless: bool) -> list[str]:
    from crashing.killing import POSTGRES, SEQUENCER  # noqa: PLC0415

    of_postgres = kills if careless else max(1, round(kills * OF_POSTGRES))
    order = [POSTGRES] * of_postgres + [SEQUENCER] * (kills - of_postgres)
    random.shuffle(order)
    return order


def _of_attempts(attempts: Sequence[Attempt], kept: set[UUID]) -> dict[str, int]:
    """How many entries were acknowledged, in doubt and withdrawn."""
    counted: Counter[str] = Counter()
    for attempt in attempts:
        found = sum(id_ in kept for id_ in attempt.ids)
        counted[f"{attempt.outcome.value}_found"] += found
        counted[f"{attempt.outcome.value}_not_found"] += len(attempt.ids) - found
    return dict(sorted(counted.items()))


def _of_kills(killing: Killing) -> dict[str, Any]:
    """How often, and the seconds until all was well again: the median and the longest."""
    return {
        **{f"{what}_kills": times for what, times in sorted(killing.counts.items())},
        "kills_between_sealing_and_publishing": killing.sealed_not_published,
        **{
            f"{what}_seconds": [round(statistics.median(took), 2), round(max(took), 2)]
            for what, took in sorted(killing.seconds.items())
        },
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how many ({KILLS})")
    parser.add_argument("--careless", action="store_true", help="let it lose entries")
    return parser.parse_args()


if __name__ == "__main__":
    main()
