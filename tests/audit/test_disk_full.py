"""The only place that tests the ledger on full disks: refused in so many words, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.environment import ROOT


@pytest.mark.soak
def test_a_full_disk_is_said_and_loses_nothing_that_was_acknowledged() -> None:
    command = [sys.executable, "bench/ledger_disk_full.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    if reason := figures.get("skipped"):
        pytest.skip(reason)
    assert figures["broken"] == figures["acknowledged_not_found"] == 0
    told = "\n".join(figures["seen"])
    assert "LedgerUnavailable: Nothing was done, because it could not be recorded" in told
    for place in ("data", "wal", "guard", "sink", "exports"):
        assert f"{place}: " in told
