"""The only place that finds which entries were touched, once entries and leaves disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audit.verify.lines import Leaf, Line

MAX_FINDINGS = 20


@dataclass(frozen=True)
class Finding:
    """One entry that is not as it was sealed: its index, its id and kind as far as known."""

    code: str
    index: int
    id: str
    kind: str
    sentence: str


def findings(lines: Sequence[Line], leaves: Sequence[Leaf]) -> list[Finding]:
    """What was done to the entries, judged by the leaves; at most 20, in the bundle's order."""
    found = sorted(_all(lines, leaves), key=lambda finding: finding.index)
    return found[:MAX_FINDINGS]


def _all(lines: Sequence[Line], leaves: Sequence[Leaf]) -> Iterator[Finding]:
    place_of = {leaf.hash: place for place, leaf in enumerate(leaves)}
    present = {line.hash for line in lines}
    missing = {place for place, leaf in enumerate(leaves) if leaf.hash not in present}
    for place, line in enumerate(lines):
        if line.hash in place_of:
            continue
        if place in missing:
            missing.discard(place)
            yield _changed(place, line, leaves[place])
        else:
            yield _finding("entry_inserted", place, line, "has no leaf: it was inserted or changed")
    for place in missing:
        leaf = leaves[place]
        yield Finding(
            "entry_missing",
            place,
            leaf.id,
            "",
            f"The entry at index {place} (id {leaf.id}) is missing.",
        )
    yield from _out_of_place(lines, place_of)


def _changed(place: int, line: Line, leaf: Leaf) -> Finding:
    known = line._replace(id=leaf.id or line.id)
    also = f"; it now claims the id {line.id}" if line.id not in {"", known.id} else ""
    return _finding(
        "entry_changed",
        place,
        known,
        f"was changed: its bytes do not have the hash of its leaf{also}",
    )


def _out_of_place(lines: Sequence[Line], place_of: dict[bytes, int]) -> Iterator[Finding]:
    """Known entries that stand twice, or behind a later one."""
    seen: set[bytes] = set()
    furthest = -1
    for place, line in enumerate(lines):
        at = place_of.get(line.hash)
        if at is None:
            continue
        if line.hash in seen:
            yield _finding(
                "entry_duplicated", at, line, f"stands twice; the second time at line {place + 1}"
            )
        elif at < furthest:
            yield _finding(
                "entry_moved",
                at,
                line,
                f"was moved to line {place + 1}, behind the entry at index {furthest}",
            )
        seen.add(line.hash)
        furthest = max(furthest, at)


def _finding(code: str, index: int, line: Line, what: str) -> Finding:
    names = f"id {line.id or 'unreadable'}, kind {line.kind or 'unreadable'}"
    return Finding(code, index, line.id, line.kind, f"The entry at index {index} ({names}) {what}.")
