"""The only place that sets the environment of the tests, before Django reads its settings."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests")]

# The tests' own server, key and queue, whatever the shell has.
STATE = ROOT / "var" / "test"
os.environ["COUNTERSIGN_STATE_DIRECTORY"] = str(STATE)
os.environ["COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES"] = "false"
os.environ["SECURE_COOKIES"] = "false"
for _name in (
    "CELERY_BROKER_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "DEBUG",
    "DATABASE_POOL_SIZE",
):
    os.environ.pop(_name, None)

from countersign import embedded  # noqa: E402
from countersign.configuration import generated_secret  # noqa: E402

_open = contextlib.ExitStack()
os.environ["DATABASE_URL"] = os.environ.get(
    "COUNTERSIGN_TEST_DATABASE_URL"
) or _open.enter_context(embedded.server(STATE / "postgres"))
os.environ["SECRET_KEY"] = generated_secret(STATE / "secret_key")


def _free_slot() -> int:
    """A number that no other test run uses now: runs side by side have a database each."""
    STATE.mkdir(parents=True, exist_ok=True)
    for slot in range(64):
        file = _open.enter_context((STATE / f"slot-{slot}.lock").open("w"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return slot
    raise RuntimeError("64 test runs are under way already")


DATABASE_NAME = f"test_countersign_{_free_slot()}"


def pytest_unconfigure() -> None:
    """Stop the embedded server, if this run was the last to use it."""
    _open.close()
