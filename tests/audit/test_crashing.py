"""The only place that tests what is left after kills: what was acknowledged, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.environment import ROOT

pytestmark = pytest.mark.soak


def _crash(*options: str) -> tuple[int, dict[str, Any], str]:
    """The exit code of the benchmark, its figures, and what it said of promises."""
    command = [sys.executable, "bench/ledger_crash.py", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_kills_of_sequencer_and_database_lose_nothing_double_nothing_and_leave_no_gap() -> None:
    code, figures, said = _crash("--kills", "8")
    assert (code, figures["broken"]) == (0, 0), said
    assert (figures["sequencer_kills"], figures["postgresql_kills"]) == (6, 2)
    assert figures["acknowledged_found"] > 0
    assert figures["acknowledged_not_found"] == figures["withdrawn_found"] == 0


def test_entries_that_did_not_wait_for_the_disk_are_missed_by_the_same_judge() -> None:
    code, figures, said = _crash("--kills", "4", "--careless")
    assert code == 1
    assert figures["acknowledged_not_found"] > 0
    assert "Acknowledged and lost" in said
