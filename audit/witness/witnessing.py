"""The only place for a witness's verdict on a submission (C2SP tlog-witness, add-checkpoint)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Lock

from audit import checkpoints, proofs, submissions
from audit.checkpoint_text import Checkpoint, CheckpointMalformed
from audit.checkpoints import CheckpointNotSigned
from audit.errors import Problem
from audit.note_keys import SigningKey, VerifierKey
from audit.submissions import Submission, SubmissionMalformed
from audit.witness.state import State, origin_hash

logger = logging.getLogger(__name__)


class LogUnknown(Problem):
    """This witness does not know the log {origin}."""

    code = "witness_log_unknown"
    status = 404


class LogNotSigned(Problem):
    """The checkpoint is not signed as the log {origin} signs: {reason}"""

    code = "witness_log_not_signed"
    status = 403


class OtherSizeKnown(Problem):
    """The newest checkpoint that this witness cosigned has {size} entries."""

    code = "witness_other_size_known"
    status = 409


class NotConsistent(Problem):
    """The checkpoint does not continue the one of {old} entries, so it is not cosigned."""

    code = "witness_not_consistent"
    status = 422


class Witness:
    """Cosigns with `keys` the checkpoints of the logs that sign with `logs`."""

    def __init__(
        self,
        keys: Sequence[SigningKey],
        logs: Sequence[VerifierKey],
        state: State,
        clock: Callable[[], int],
    ) -> None:
        self.keys, self._state, self._clock = keys, state, clock
        self._logs: dict[str, list[VerifierKey]] = {}
        for key in logs:
            self._logs.setdefault(key.name, []).append(key)
        self._locks = {origin: Lock() for origin in self._logs}
        self._origins = {origin_hash(origin): origin for origin in self._logs}

    def add_checkpoint(self, body: bytes) -> str:
        """The witness's signature lines for the checkpoint in `body`.

        1. The log's signature. 2. Under the log's lock: the size that was cosigned last, 3. the
        proof from there, 4. the new checkpoint on the disk. Only then a cosignature leaves.

        Raises SubmissionMalformed, LogUnknown, LogNotSigned, OtherSizeKnown, NotConsistent;
        OSError if the disk does not take it.
        """
        submission = submissions.read(body)
        checkpoint, log_lines = self._opened(submission)
        with self._locks[checkpoint.origin]:
            newest = self._state.newest(checkpoint.origin).checkpoint
            if submission.old != newest.size:
                raise OtherSizeKnown(size=newest.size)
            bare = f"{checkpoint.text}\n" + "".join(log_lines)
            if not _continues(newest, checkpoint, submission.proof):
                # The log's signature on two trees that do not fit is evidence: keep it in the log.
                logger.warning("Not shown to continue %s entries:\n%s", newest.size, bare)
                raise NotConsistent(old=newest.size)
            lines = checkpoints.cosign(bare, *self.keys, seconds=self._clock())
            self._state.remember(checkpoints.with_signatures(bare, lines))
        return "".join(lines)

    def newest(self, hashed: str) -> str | None:
        """The newest cosigned note of the log whose origin has this SHA-256 (hex), if any."""
        origin = self._origins.get(hashed)
        return self._state.newest(origin).note if origin else None

    def _opened(self, submission: Submission) -> tuple[Checkpoint, list[str]]:
        """The checkpoint that its log has signed, and the log's signature lines."""
        try:
            checkpoint = checkpoints.read(submission.note)
        except CheckpointMalformed as problem:
            raise SubmissionMalformed(reason=str(problem)) from problem
        lines = self._log_lines(submission.note, checkpoint.origin)
        if submission.old > checkpoint.size:
            raise SubmissionMalformed(reason="the old size is larger than the checkpoint's")
        return checkpoint, lines

    def _log_lines(self, note: str, origin: str) -> list[str]:
        if origin not in self._logs:
            raise LogUnknown(origin=origin)
        try:
            checkpoints.verify(note, *self._logs[origin])
        except CheckpointNotSigned as problem:
            raise LogNotSigned(origin=origin, reason=str(problem)) from problem
        return [found.line for found in checkpoints.signed_by(note, self._logs[origin])]


def _continues(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> bool:
    if new.size == 0:
        return not proof and new.root == proofs.EMPTY_ROOT
    if old.size == 0:
        return not proof
    return proofs.verify_consistency(old.size, new.size, old.root, new.root, proof)
