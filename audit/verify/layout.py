"""The only place that names the files of a bundle."""

from __future__ import annotations

from audit import checkpoints

FORMAT = "countersign-bundle/1"

MANIFEST = "manifest.json"
# One entry a line, in the log's order; the line without its newline is what was hashed.
ENTRIES = "entries.jsonl"
# One leaf a line: index, hash in hexadecimal, the entry's id.
LEAVES = "leaves.txt"
# The signed note over size and root.
CHECKPOINT = "checkpoint"
# The key that the log signs with.
KEY = "log.vkey"
EXPLANATION = "VERIFY.md"

LISTED = (ENTRIES, LEAVES, CHECKPOINT, KEY, EXPLANATION)


def root_in(note: str) -> str:
    """The root that a checkpoint's note names, in hexadecimal. Raises CheckpointMalformed."""
    return checkpoints.read(note).root.hex()
