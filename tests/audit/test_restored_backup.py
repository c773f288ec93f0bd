"""The only place that tests a true older copy of the database, put back under a running ledger."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.environment import ROOT


@pytest.mark.soak
def test_an_older_database_is_not_signed_until_two_people_approve() -> None:
    command = [sys.executable, "bench/ledger_restored.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])["seen"]
    assert seen[1] == "/health says that a ledger is halted, before anything was recorded"
    assert "none is sealed or signed, and the console says so" in seen[2]
    assert seen[-1] == "its bundle is whole, and not what follows the checkpoint that was outside"
