"""What the ledger does while a disk is full, and afterwards: nothing acts, and nothing is lost.

Each place has a disk of its own, so small that it can be filled: PostgreSQL's data, its write-ahead
log, the sequencer's folder (the rollback guard), the checkpoint sink, the exports. They are filled
one after the other while writers record in every way there is. It is shown what everybody is told
meanwhile; then there is room again, all goes on, and in the end the ledgers are judged as after
the kills of bench/ledger_crash.py. Only root may mount a disk: anybody else skips it, and says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from crashing.installing import Installed, installed  # noqa: E402
from crashing.small_disks import SmallDisk, mounted  # noqa: E402

MEGABYTES = {"data": 400, "wal": 160, "ledger-guard": 8, "outside": 8, "exports": 64}
SKIPPED = "Only root may mount the small disks that are filled here."


def main() -> None:
    """Print what was seen, a line of JSON, and each promise that is broken."""
    if os.geteuid() != 0:
        print(json.dumps({"bench": "ledger_disk_full", "skipped": SKIPPED}))
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        state = Path(folder)
        state.chmod(0o755)
        disks = {
            name: stack.enter_context(mounted(state / name, megabytes))
            for name, megabytes in MEGABYTES.items()
        }
        installation = stack.enter_context(installed(state, state / "data" / "pg"))
        figures, broken = fill(state, installation, disks)
    print(json.dumps({"bench": "ledger_disk_full", **figures, "broken": len(broken)}))
    if broken:
        raise SystemExit("\n".join(["The ledger broke its promises.", *broken]))


def fill(
    state: Path, installation: Installed, disks: dict[str, SmallDisk]
) -> tuple[dict[str, Any], list[str]]:
    """Fill, make room, judge; what was counted, and the promises that are broken."""
    from crashing.filling import Filling  # noqa: PLC0415  (Django is set up only now)
    from crashing.promises import judge  # noqa: PLC0415

    filling, seen = Filling(state, installation, disks), []
    for sentence in filling.run():
        print(sentence, flush=True)
        seen.append(sentence)
    figures, broken = judge(installation, state, filling.diary.attempts)
    return {"seen": seen, **figures}, broken


if __name__ == "__main__":
    main()
