"""The only place that runs the suite as processes side by side, each with a database of its own.

The two halves take about as long as each other and keep two cores busy; a third process has the
browser, and mostly waits. A process that deals out single tests would cost a tenth of the whole.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("console", "demo", "gateway", "governance", "retrieval", "runtime", "tenants")
HALF = [f"tests/{name}" for name in NAMES]
BROWSER = ["tests/journeys"]
REST = ["tests", *(f"--ignore={folder}" for folder in (*HALF, *BROWSER))]
NOTHING_SELECTED = 5


def main(arguments: Sequence[str]) -> int:
    """Run pytest with `arguments` on all parts, and return the first exit code that is not 0.

    The last part is seen while it goes on, the others once they have ended. Ctrl-C ends them all.
    """
    with tempfile.TemporaryFile() as half, tempfile.TemporaryFile() as browser:
        started = {
            _start(HALF, arguments, half): half,
            _start(BROWSER, arguments, browser): browser,
        }
        codes = []
        try:
            codes.append(_start(REST, arguments, None).wait())
        finally:  # Ctrl-C reaches them too, and they have to clean up
            codes += [process.wait() for process in started]
            for output in started.values():
                output.seek(0)
                sys.stdout.buffer.write(output.read())
    # A part may have nothing of what is wanted; all of them may not.
    return next((code for code in codes if code not in {0, NOTHING_SELECTED}), min(codes))


def _start(
    folders: Sequence[str], arguments: Sequence[str], output: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", "-q", *arguments, *folders]
    return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
