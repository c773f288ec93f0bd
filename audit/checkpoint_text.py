"""The only place for what a checkpoint says: origin, size and root, as text. No Django.

The text is C2SP tlog-checkpoint's. Extension lines are kept, so that a text that is read and
written again is the same, and mean nothing: this product writes none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from audit import base64_text
from audit.errors import Problem

# A size is a signed 64-bit number in PostgreSQL, in Go and in a cosignature.
LARGEST = 2**63 - 1
# An ML-DSA-44 cosignature gives the length of the origin in one byte.
LONGEST_ORIGIN = 255
SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class CheckpointMalformed(Problem):
    """The checkpoint is malformed: {reason}."""

    code = "checkpoint_malformed"
    status = 422


class Checkpoint(NamedTuple):
    """What a log vouches for: its origin, its size in entries and its root (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text that is signed, with its final newline."""
        lines = [self.origin, str(self.size), base64_text.encode(self.root), *self.extensions]
        return "".join(f"{line}\n" for line in lines)


def read_text(text: str) -> Checkpoint:
    """What the text says. Raises CheckpointMalformed."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise CheckpointMalformed(reason="it needs an origin, a size and a root, each on a line")
    origin, size, root, *extensions = lines
    if len(origin.encode()) > LONGEST_ORIGIN:
        raise CheckpointMalformed(reason=f"its origin is over {LONGEST_ORIGIN} bytes")
    return Checkpoint(origin, read_size(size), _root(root), tuple(extensions))


def read_size(text: str) -> int:
    """The size of a tree, in the one way to write it. Raises CheckpointMalformed."""
    if not SIZE.fullmatch(text) or int(text) > LARGEST:
        raise CheckpointMalformed(reason="a size is not a number, or too large")
    return int(text)


def _root(text: str) -> bytes:
    try:
        return base64_text.decode_hash(text)
    except ValueError as problem:
        raise CheckpointMalformed(reason=f"its root: {problem}") from None
