"""The only place for what the tests of rotated keys share: a log, its sequencer, and a killer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from own_logs import OwnLog, act_as, ask, record_committed

from audit import bundles, checkpoints, rotations, sequencer
from audit.guard import Guard
from audit.note_keys import PrivateKey
from audit.verify.checks import verify
from audit.verify.report import Report

SIGNED = "SELECT verifier_key FROM audit.checkpoint ORDER BY size"
SAID = """
SELECT convert_from(payload, 'UTF8')::json ->> 'replaces',
    convert_from(payload, 'UTF8')::json ->> 'verifier_key'
FROM audit.entry WHERE kind = 'ledger.key_rotated' ORDER BY id
"""


class Killed(BaseException):
    """The command's process is gone."""


class Ground(NamedTuple):
    """A log, a sequencer at work on it, and the folder of their keys."""

    raw: psycopg.Connection
    log: OwnLog
    guard: Guard
    keyring: Any
    folder: Path

    def record(self, count: int = 1) -> None:
        record_committed(self.raw, self.log, count)

    def seal(self) -> bool:
        """What the sequencer does meanwhile; it is always there."""
        while sequencer.run_once(self.raw, *self.keyring.held(), guard=self.guard).sealed:
            continue
        return True

    def rotate(self) -> bool:
        return rotations.rotate(self.keyring, tell=silent, wait=self.seal)

    def signers(self) -> list[str]:
        return [key for (key,) in ask(self.raw, self.log, SIGNED)]


def vkey(log: OwnLog, key: PrivateKey) -> str:
    """The verifier key that `log` has with `key`."""
    return str(checkpoints.log_key(log.origin, key).verifier)


def verified(log: OwnLog, folder: Path, *keys: PrivateKey) -> Report:
    """What the offline verifier says of a bundle of `log`, exported into `folder`."""
    act_as(log.role)
    now = datetime.now(UTC)
    bundles.export(folder, now=now)
    act_as("none")
    return verify(folder, now=now, keys=[vkey(log, key) for key in keys])


def silent(_: str) -> None:
    """Tells nobody."""


def die(*_: Any, **__: Any) -> None:
    """What a call does in whose place the process is killed."""
    raise Killed


def after_the_first(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` once; then the process is killed."""
    calls = iter([call])

    def once(*args: Any, **how: Any) -> Any:
        return next(calls, die)(*args, **how)

    return once
