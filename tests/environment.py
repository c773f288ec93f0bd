"""The only place that sets the environment of the tests, before Django reads its settings."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import shutil
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests")]

from countersign import embedded  # noqa: E402
from countersign.configuration import Configuration, generated_secret  # noqa: E402

SHARED = ROOT / "var" / "test"
_open = contextlib.ExitStack()


def _free_slot() -> int:
    """A number that no other test run uses now: runs side by side share the server alone."""
    SHARED.mkdir(parents=True, exist_ok=True)
    for slot in range(64):
        file = _open.enter_context((SHARED / f"slot-{slot}.lock").open("w"))
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return slot
    raise RuntimeError("64 test runs are under way already")


_slot = _free_slot()
STATE = SHARED / f"slot-{_slot}"
DATABASE_NAME = f"test_countersign_{_slot}"
shutil.rmtree(STATE, ignore_errors=True)
# All sequencers of the tests sign with one key: they seal each other's logs.
STATE.mkdir(parents=True)
(STATE / "ledger.key").touch(mode=0o600)
(STATE / "ledger.key").write_bytes(
    Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
)

# Nothing of what the shell has set: the tests' own server, key and queue.
_url = os.environ.get("COUNTERSIGN_TEST_DATABASE_URL")
for _name in Configuration.model_fields:
    os.environ.pop(_name, None)
os.environ.update(
    DATABASE_URL=_url or _open.enter_context(embedded.server(SHARED / "postgres")),
    COUNTERSIGN_STATE_DIRECTORY=str(STATE),
    SECRET_KEY=generated_secret(SHARED / "secret_key"),
    HTTPS="false",
)

# Collecting 4,700 tests makes millions of objects that all stay: looking through them again and
# again takes longer than making them.
gc.set_threshold(100_000, 50, 100)


def pytest_collection_finish() -> None:
    """What is there by now is there to the end, so it is not looked through again."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Stop the embedded server, if this run was the last to use it."""
    _open.close()
