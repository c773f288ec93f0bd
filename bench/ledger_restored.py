"""What becomes of a ledger whose database is replaced by an older copy of itself.

One embedded PostgreSQL in a folder that is thrown away, two tenants, and the sequencer's process.
PostgreSQL is stopped and its folder copied; entries are recorded, sealed and signed; then the copy
is put back, as somebody does who restores a backup. Nothing may be signed from then on, by the
sequencer that runs nor by another one; /health and the console must say so; and it goes on once
two people have approved, in each ledger. The exit code is 1 where that is not what happens.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from crashing.installing import installed  # noqa: E402


def main() -> None:
    """Print what was seen, and a line of JSON."""
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        with installed(state, state / "pg") as installation:
            from crashing.restoring import Restoring  # noqa: PLC0415  (Django is set up only now)

            for sentence in Restoring(state, installation).run():
                print(sentence, flush=True)
                seen.append(sentence)
    print(json.dumps({"bench": "ledger_restored", "seen": seen}))


if __name__ == "__main__":
    main()
