"""The only place that asks a witness for its cosignature (C2SP tlog-witness). No Django.

Pure protocol: who calls brings `post`, and with it the network, its time-outs and its limits.
Nothing that a witness answers is believed, except what its configured keys have signed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from audit import checkpoints, notes, submissions
from audit.checkpoint_text import CheckpointMalformed
from audit.checkpoints import CheckpointNotSigned
from audit.errors import Problem
from audit.note_keys import VerifierKey
from audit.notes import Note, NoteMalformed, Signature, Verified
from audit.submissions import Submission, SubmissionMalformed

# Several lines of ML-DSA-44 signatures, with room to spare.
LONGEST_ANSWER = 65_536


class Answer(NamedTuple):
    """What came back over HTTP: the status, and the body (LONGEST_ANSWER bytes are enough)."""

    status: int
    body: bytes


# Posts a body to a URL, and follows no redirect.
Post = Callable[[str, bytes], Answer]
# The consistency proof (RFC 6962, 2.1.2) from the size `old` to the size `new`; 0 < old < new.
Prove = Callable[[int, int], Sequence[bytes]]


class WitnessRefused(Problem):
    """The witness at {url} answered {status} and did not cosign the checkpoint."""

    code = "witness_refused"
    status = 502


class WitnessAhead(Problem):
    """The witness at {url} has seen {witnessed} entries of this log, more than its {size}."""

    code = "witness_ahead"
    status = 409


class WitnessUnproven(Problem):
    """The answer of the witness at {url} does not hold: {reason}."""

    code = "witness_unproven"
    status = 502


def request(
    url: str,
    note: str,
    keys: Sequence[VerifierKey],
    *,
    old: int,
    prove: Prove,
    post: Post,
) -> list[Verified]:
    """The cosignatures of `note` by the witness under `url`: of which key, when, and the line.

    `old` is the size that it cosigned last, as far as is known (0: none). If the witness knows
    another size, it is asked once more from there. `keys` are the witness's; one is enough.

    Raises WitnessAhead (this log was rolled back, or two of its histories are about; a witness's
    number is not signed, what it serves at `<SHA-256 of the origin in hex>/checkpoint` is),
    WitnessRefused, WitnessUnproven, CheckpointMalformed; and what `post` raises.
    """
    answer = _submit(url, note, old, prove, post)
    if answer.status == 409:
        answer = _submit(url, note, _witnessed(url, answer), prove, post)
    if answer.status != 200:
        raise WitnessRefused(url=url, status=answer.status)
    return _cosignatures(url, note, keys, answer.body)


def _submit(url: str, note: str, old: int, prove: Prove, post: Post) -> Answer:
    size = checkpoints.read(note).size
    if old > size:
        raise WitnessAhead(url=url, witnessed=old, size=size)
    proof = prove(old, size) if 0 < old < size else []
    return post(f"{url.rstrip('/')}/add-checkpoint", bytes(Submission(old, proof, note)))


def _witnessed(url: str, answer: Answer) -> int:
    try:
        return submissions.read_size(answer.body)
    except SubmissionMalformed as problem:
        raise WitnessUnproven(url=url, reason=str(problem)) from problem


def _cosignatures(url: str, note: str, keys: Sequence[VerifierKey], body: bytes) -> list[Verified]:
    if len(body) > LONGEST_ANSWER:
        raise WitnessUnproven(url=url, reason="it is too long")
    # The checkpoint's text alone: what else is on the note is not this witness's to answer for.
    text = checkpoints.read(note).text
    try:
        answered = Note(text, tuple(_signatures(body.decode())))
        found = checkpoints.signed_by(str(answered), keys)
    except (ValueError, NoteMalformed, CheckpointMalformed, CheckpointNotSigned) as problem:
        raise WitnessUnproven(url=url, reason=str(problem)) from problem
    dated = [cosignature for cosignature in found if cosignature.seconds]
    if not dated:
        raise WitnessUnproven(url=url, reason="it has no dated signature of the witness's keys")
    return dated


def _signatures(body: str) -> list[Signature]:
    *lines, rest = body.split("\n")
    if rest:
        raise ValueError("its last line has no end")
    return [notes.parse_signature(line) for line in lines]
