"""The only place that starts `manage.py run_sequencer` quickly: forked from who imported it.

Importing the product takes most of a start, and there is one after each kill. Every sequencer is a
process of its own nevertheless, and begins with manage.py's `main`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def started(said: Path) -> BaseProcess:
    """A new process of `manage.py run_sequencer`, which says everything into `said`."""
    paths = (ROOT / "bench", ROOT, ROOT / "platform")
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, paths))  # of the one that is forked
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crashing.imported"])
    process = context.Process(target=_run, args=(said,), daemon=True)
    process.start()
    return process


def _run(said: Path) -> None:
    with said.open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    sys.argv = ["manage.py", "run_sequencer"]
    importlib.import_module("manage").main()
