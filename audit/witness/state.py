"""The only place for what a witness remembers: each log's newest checkpoint, as cosigned.

One file a log, named after the SHA-256 of its origin: the signed note itself. It is replaced as a
whole and is on the disk when `remember` returns: whoever is killed at any line has the old one or
the new one. Since it carries the witness's own cosignature, a damaged file is refused, not trusted.
MUST NOT: two processes with one directory. A lock on the directory sees to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from audit import checkpoints, durable_files
from audit.checkpoint_text import Checkpoint, CheckpointMalformed
from audit.checkpoints import CheckpointNotSigned
from audit.errors import Problem
from audit.note_keys import VerifierKey
from audit.proofs import EMPTY_ROOT


class StateUnusable(Problem):
    """The witness's state in {path} can't be used: {reason}."""

    code = "witness_state_unusable"
    status = 500


class Remembered(NamedTuple):
    """The newest checkpoint of a log that was cosigned, and its note; size 0 before the first."""

    checkpoint: Checkpoint
    note: str | None


class State:
    """What the witness with `keys` remembers of the logs `origins`, in `directory`.

    Raises StateUnusable if another process has the directory, or a file there is not what this
    witness wrote; OSError.
    """

    def __init__(
        self, directory: Path, keys: Sequence[VerifierKey], origins: Sequence[str]
    ) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = self._locked()
        try:
            self._known = {origin: self._load(origin, keys) for origin in origins}
        except (StateUnusable, OSError):
            self.close()
            raise

    def close(self) -> None:
        """Let another process have the directory."""
        os.close(self._lock)

    def newest(self, origin: str) -> Remembered:
        """What is remembered of a log."""
        return self._known[origin]

    def remember(self, note: str) -> None:
        """Keep a cosigned checkpoint's note as its log's newest; it is durable on return.

        Raises OSError if that can't be: then what was remembered before still is.
        """
        checkpoint = checkpoints.read(note)
        durable_files.replace(self._path(checkpoint.origin), note.encode())
        self._known[checkpoint.origin] = Remembered(checkpoint, note)

    def _locked(self) -> int:
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            reason = "another witness is running with it"
            raise StateUnusable(path=str(self._directory), reason=reason) from None
        return descriptor

    def _load(self, origin: str, keys: Sequence[VerifierKey]) -> Remembered:
        path = self._path(origin)
        if not path.exists():
            return Remembered(Checkpoint(origin, 0, EMPTY_ROOT), None)
        try:
            note = path.read_bytes().decode()
            checkpoint = checkpoints.verify(note, *keys)
        except (ValueError, CheckpointMalformed, CheckpointNotSigned) as problem:
            raise StateUnusable(path=str(path), reason=str(problem)) from problem
        if checkpoint.origin != origin:
            raise StateUnusable(path=str(path), reason=f"it is of the log {checkpoint.origin}")
        return Remembered(checkpoint, note)

    def _path(self, origin: str) -> Path:
        return self._directory / f"{origin_hash(origin)}.checkpoint"


def origin_hash(origin: str) -> str:
    """How a log is named in a path: the SHA-256 of its origin, in hexadecimal."""
    return hashlib.sha256(origin.encode()).hexdigest()
