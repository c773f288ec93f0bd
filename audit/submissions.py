"""The only place for what a log sends to a witness: the body of add-checkpoint. No Django.

C2SP tlog-witness: the size that the witness knows, the consistency proof from there, the note.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from audit import base64_text, checkpoint_text, notes
from audit.checkpoint_text import CheckpointMalformed
from audit.errors import Problem

MOST_HASHES = 63
# In bytes: the longest note, and 64 lines before it.
LONGEST = notes.LONGEST + 4_096
SIZE_TYPE = "text/x.tlog.size"


class SubmissionMalformed(Problem):
    """The submission is malformed: {reason}."""

    code = "submission_malformed"
    status = 400


class Submission(NamedTuple):
    """The size that the witness cosigned last (0: none), the proof from there, the new note."""

    old: int
    proof: Sequence[bytes]
    note: str

    def __bytes__(self) -> bytes:
        proof = "".join(f"{base64_text.encode(node)}\n" for node in self.proof)
        return f"old {self.old}\n{proof}\n{self.note}".encode()


def read(body: bytes) -> Submission:
    """What was submitted. Raises SubmissionMalformed; the note is not looked into."""
    try:
        head, gap, note = body.decode().partition("\n\n")
        first, *lines = head.split("\n")
        old = checkpoint_text.read_size(first.removeprefix("old "))
        proof = [base64_text.decode_hash(line) for line in lines]
    except (ValueError, CheckpointMalformed) as problem:
        raise SubmissionMalformed(reason=str(problem)) from None
    if not gap or not first.startswith("old ") or len(proof) > MOST_HASHES:
        raise SubmissionMalformed(reason="it needs an old size, at most 63 hashes and a checkpoint")
    return Submission(old, proof, note)


def read_size(body: bytes) -> int:
    """The size in a witness's answer 409. Raises SubmissionMalformed."""
    try:
        return checkpoint_text.read_size(body.decode("ascii").removesuffix("\n"))
    except (ValueError, CheckpointMalformed) as problem:
        raise SubmissionMalformed(reason=str(problem)) from None
