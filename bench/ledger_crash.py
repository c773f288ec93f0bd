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
import random
import statistics
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from crashing.installing import Installed, installed  # noqa: E402

if TYPE_CHECKING:
    from crashing.killing import Killing

KILLS = 100
OF_POSTGRES = 0.3
CARELESS = "&options=-c%20synchronous_commit%3Doff"
MOST_SHOWN = 20


def main() -> None:
    """Print a table, a line of JSON, and each promise that is broken."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        with installed(state, state / "pg") as installation:
            figures, broken = crash(state, installation, options.kills, careless=options.careless)
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):>45}  {value}")
    print(json.dumps({"bench": "ledger_crash", **figures, "broken": len(broken)}))
    if broken:
        raise SystemExit("\n".join(["The ledger broke its promises.", *broken[:MOST_SHOWN]]))


def crash(
    state: Path, installation: Installed, kills: int, *, careless: bool
) -> tuple[dict[str, Any], list[str]]:
    """Write, kill, catch up and judge; what was counted, and the promises that are broken."""
    from crashing.killing import Killing, Sequencer, Server, wait_until  # noqa: PLC0415
    from crashing.promises import judge  # noqa: PLC0415
    from crashing.writing import Diary, Writers  # noqa: PLC0415

    url, tenants = installation
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
        outside = state / "outside"
        wait_until(lambda: len([*outside.iterdir()]) == len(tenants), "No checkpoint is outside")
        sequencer.stop()
    judged, broken = judge(installation, state, diary.attempts)
    complaints = {"complaints_of_the_sequencer": len(sequencer.complaints)}
    return {**_of_kills(killing), **judged, **complaints}, broken


def _order(kills: int, *, careless: bool) -> list[str]:
    from crashing.killing import POSTGRES, SEQUENCER  # noqa: PLC0415

    of_postgres = kills if careless else max(1, round(kills * OF_POSTGRES))
    order = [POSTGRES] * of_postgres + [SEQUENCER] * (kills - of_postgres)
    random.shuffle(order)
    return order


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
