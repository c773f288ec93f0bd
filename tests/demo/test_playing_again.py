"""Part 8 with real processes: killed in the middle of it, and played again on what that left."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from countersign.processes import free_port
from tests.environment import ROOT

SECONDS = 120
# `make demo` plays the other parts; of part 6 there is the bundle, which part 8 goes on from.
PLAYED = """
import sys
from demo import __main__, outside, proving, story
def play(scene):
    bundle = scene.acme["Carol"].fetch("/ledger/export").body
    (scene.folder / proving.BUNDLE).write_bytes(bundle)
    outside.it_is_watched_from_outside(scene)
story.play = play
sys.exit(__main__.main())
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory; who still works in it when a test failed is ended."""
    folder = tmp_path / "state"
    yield folder
    for process in _left(folder):
        process.kill()


def _left(state: Path) -> list[psutil.Process]:
    """The processes of the installation in this folder, and what it has beside it."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(state) in word for word in words):
            found.append(process)
    return found


def _start(state: Path, said: Path) -> subprocess.Popen[bytes]:
    kept = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "SECRET_KEY"}}
    own = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
        "PYTHONUNBUFFERED": "1",
        "COUNTERSIGN_STATE_DIRECTORY": str(state),
        "PORT": str(free_port(10_000 + os.getpid() % 20_000)),
    }
    with said.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", PLAYED, "--serve=0"],
            cwd=ROOT,
            env={**kept, **own},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@pytest.mark.soak
def test_part_8_is_played_again_after_a_kill_in_the_middle_of_it(state: Path) -> None:
    said = state.parent / "said"
    killed = _start(state, said)
    deadline = time.monotonic() + SECONDS
    while "The witness is killed" not in said.read_text():
        assert killed.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    again = _start(state, said)
    assert again.wait(SECONDS) == 0, said.read_text()
    assert "each with the same hash" in said.read_text()
    with sqlite3.connect(state / "shop.sqlite") as shop:
        made = "SELECT order_id FROM log WHERE kind = 'refund.made' AND amount_cents = 240000"
        refunded = [order for (order,) in shop.execute(made)]
    shop.close()
    assert refunded == ["1045", "1145"]
    assert _left(state) == []
    assert list(state.glob("run/*")) == []
