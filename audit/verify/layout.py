"""The only place that says what a bundle consists of: its files, its manifest, its filter.

A bundle is a folder, or the same as `.tar.zst` with the top folder `bundle/`. The filter of an
export is an object with any of these members; an entry is *selected* if it fits all of them, and
each entry is if there is none:
- `kind`: the entry's kind begins with this text ("approval." or "effect.begun")
- `actor`: the actor's id is this text
- `correlation`: the entry's correlation (a run's or a call's id) is this UUID
- `after`, `before`: it was recorded at or after the one, and before the other
All headers are shipped, so that whoever judges the bundle runs the filter again; bodies (private
parts) are shipped of selected entries only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit import checkpoints
from audit.errors import Problem
from audit.verify import json_text
from audit.verify.headers import TIME, UUID, Header

FORMAT = "countersign-bundle/2"
TOP = "bundle"

MANIFEST = "manifest.json"
# The leaf bytes of every entry of [first, size), one a line, in the log's order.
ENTRIES = "entries.jsonl"
# Of entries with private parts: {"index":N,"parts":{field:{"salt":HEX,"value":…}}}, one a line.
BODIES = "bodies.jsonl"
# The selected entries once more, for other programs. They are derived: nothing rests on them.
OCSF = "ocsf.jsonl"
SPREADSHEET = "entries.csv"
DERIVED = (OCSF, SPREADSHEET)
# The signed note over size and root, with cosignatures.
CHECKPOINT = "checkpoint"
# The log's keys, one a line, oldest first.
KEY = "log.vkey"
# The cosigners' keys, one a line; the file is absent without any.
WITNESSES = "witnesses.vkey"
TILES = "tile"
# The checkpoint of the export before, and the proof that this one continues it (hashes in base64).
PREVIOUS = "previous/checkpoint"
CONSISTENCY = "previous/consistency"
PROOFS = "proofs"
TIMESTAMPS = "timestamps"
EXPLANATION = "VERIFY.md"

REQUIRED = (ENTRIES, CHECKPOINT, KEY)
MOST_MANIFEST_BYTES = 1 << 28
MEMBERS = {"format", "origin", "size", "root", "first", "created_at", "filter", "selected",
           "not_covered", "previous", "newest_outside", "files"}  # fmt: skip
# Which bodies are shipped: of each selected entry, or of none, for want of permission.
BODIES_SHIPPED = ("all", "selected", "none")

HEX = re.compile(r"[0-9a-f]{64}")


class ManifestMalformed(Problem):
    """The manifest is not one of the format countersign-bundle/2: {reason}."""

    code = "manifest_malformed"
    status = 422


@dataclass(frozen=True)
class Manifest:
    """What the exporter says of the bundle. Nothing in it is signed: it is all checked."""

    origin: str
    size: int
    root: str
    first: int
    created_at: str
    filter: Mapping[str, str]
    selected: int
    bodies: str
    previous: Mapping[str, Any] | None
    newest_outside: Mapping[str, Any] | None
    files: Mapping[str, Any]


def read_manifest(path: Path) -> Manifest:
    """The manifest in this file. Raises ManifestMalformed."""
    try:
        if path.stat().st_size > MOST_MANIFEST_BYTES:
            raise ManifestMalformed(reason="it is too large")
        value = json_text.load(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise ManifestMalformed(reason=str(problem)) from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ManifestMalformed(reason="it names another format, or none")
    _check_members(value)
    wanted = Manifest.__dataclass_fields__
    value.setdefault("bodies", "selected")
    return Manifest(**{name: value[name] for name in wanted})


def _check_members(value: dict[str, Any]) -> None:
    odd = set(value) - {"bodies"} ^ MEMBERS
    if odd:
        raise ManifestMalformed(reason=f"missing or unknown are {', '.join(sorted(odd))}")
    for name, is_fine in _SHAPES.items():
        if name in value and not is_fine(value[name]):
            raise ManifestMalformed(reason=f"its {name} has another form")
    if value["first"] > value["size"]:
        raise ManifestMalformed(reason="its first entry lies behind its last")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(TIME, value.encode(errors="replace")))


def _is_uuid(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(UUID, value.encode(errors="replace")))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and bool(HEX.fullmatch(value))


def _is_head(value: Any) -> bool:
    if value is None:
        return True
    whole = isinstance(value, dict) and set(value) == {"size", "root"}
    return whole and _is_count(value["size"]) and _is_hash(value["root"])


def _is_filter(value: Any) -> bool:
    """A filter that nobody can run again selects what it likes, so it is refused."""
    return isinstance(value, dict) and all(
        name in _FILTERS and _FILTERS[name](text) for name, text in value.items()
    )


_FILTERS: dict[str, Callable[[Any], bool]] = {
    "kind": _is_text,
    "actor": _is_text,
    "correlation": _is_uuid,
    "after": _is_time,
    "before": _is_time,
}
_SHAPES: dict[str, Callable[[Any], bool]] = {
    "origin": _is_text,
    "size": _is_count,
    "root": _is_hash,
    "first": _is_count,
    "created_at": _is_time,
    "filter": _is_filter,
    "selected": _is_count,
    "not_covered": _is_count,
    "previous": _is_head,
    "newest_outside": lambda value: value is None or isinstance(value, dict),
    "files": lambda value: isinstance(value, dict),
    "bodies": lambda value: value in BODIES_SHIPPED,
}


def selector(wanted: Mapping[str, str]) -> Callable[[Header], bool]:
    """Whether an entry's header passes this filter."""
    kind, after = wanted.get("kind", "").encode(), wanted.get("after", "").encode()
    before = wanted["before"].encode() if "before" in wanted else b"\xff"
    correlation = wanted["correlation"].encode() if "correlation" in wanted else None
    actor = wanted.get("actor")

    def passes(header: Header) -> bool:
        return (
            header.kind.startswith(kind)
            and after <= header.recorded_at < before
            and correlation in {None, header.correlation}
            and (actor is None or header.actor["id"] == actor)
        )

    return passes


def root_in(note: str) -> str:
    """The root that a checkpoint's note names, in hexadecimal. Raises CheckpointMalformed."""
    return checkpoints.read(note).root.hex()
