"""The only place that opens private parts: does each fit its commitment, and is none just gone.

An entry's private fields hold commitments; salt and value are in its body. A body may be gone only
where an entry says so: its subject's key was destroyed (`subject.erased`), or its time was over
(`retention.applied`). A part that nobody may read is not shipped: the manifest says so.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit.verify import json_text, layout
from audit.verify.headers import Header
from audit.verify.kinds import PRIVATE
from audit.verify.reading import LONGEST_BODY, lines_of
from audit.verify.report import MAX_FINDINGS, Findings

# Behind every index.
NEVER = 1 << 63


class Bodies:
    """Reads bodies.jsonl side by side with the entries, and remembers what is missing."""

    def __init__(
        self, path: Path, findings: Findings, *, shipped: str, passes: Callable[[Header], bool]
    ) -> None:
        self._findings = findings
        self._shipped = shipped
        self._passes = passes
        self._lines = lines_of(path, LONGEST_BODY)
        self._parts: Any = {}
        self.next = -1
        """The index of the next entry that has a body."""
        self.opened = 0
        # Subjects whose bodies are there, and the first entry of each.
        self._present: dict[str, Header] = {}
        # Where a body is missing: by the subject and kind, the indexes.
        self._missing: dict[tuple[str, bytes], array[int]] = {}
        self._ids: dict[int, str] = {}
        self._erased: dict[str, int] = {}
        self._retained: list[tuple[list[str], int, int]] = []
        self._advance()

    def _advance(self) -> None:
        """Read the next line."""
        before = self.next
        for line in self._lines:
            try:
                value = json_text.load_canonical(line)
                self.next, self._parts = _body(value)
            except ValueError as problem:
                text = (
                    f"A line of {layout.BODIES} after the entry {before} can't be read: {problem}."
                )
                self._findings.add("body_malformed", text)
                continue
            if self.next > before:
                return
            text = f"The bodies are not in order: {self.next} follows {before}."
            self._findings.add("body_malformed", text)
        self.next = NEVER

    def open(self, header: Header) -> None:
        """Open the body of the entry `next`."""
        parts: dict[str, dict[str, Any]] = self._parts
        self.opened += 1
        for name, part in parts.items():
            if json_text.commitment(part["salt"], part["value"]) != header.event.get(name):
                what = f"has a body whose part {name!r} is not what the entry commits to"
                self._findings.about("body_changed", header, what)
        wanted = _committed(header)
        if wanted is not None and wanted - set(parts):
            names = ", ".join(sorted(wanted - set(parts)))
            self._findings.about("body_changed", header, f"has a body without its part {names}")
        if header.subject is None or not self._may_have(header):
            what = "has a body, and none should be shipped with it"
            self._findings.about("body_unexpected", header, what)
        elif header.subject not in self._present:
            self._present[header.subject] = header
        self._advance()

    def expect(self, header: Header) -> None:
        """An entry that names a subject, and of which no body is there."""
        if header.subject is not None and _committed(header) and self._may_have(header):
            indexes = self._missing.setdefault((header.subject, header.kind), array("Q"))
            if len(indexes) < MAX_FINDINGS:
                self._ids[header.index] = header.id
            indexes.append(header.index)

    def _may_have(self, header: Header) -> bool:
        return self._shipped != "none" and self._passes(header)

    def erased(self, header: Header) -> None:
        """`subject.erased`."""
        subjects = header.event.get("subjects")
        for subject in subjects if isinstance(subjects, list) else []:
            self._erased.setdefault(str(subject), header.index)

    def retained(self, header: Header) -> None:
        """`retention.applied`."""
        kinds, before = header.event.get("kinds"), header.event.get("before_index")
        if isinstance(kinds, list) and isinstance(before, int):
            self._retained.append(([str(kind) for kind in kinds], before, header.index))

    def finish(self) -> None:
        """Whether entries explain what is missing, and nothing is there that was erased."""
        if self.next != NEVER:
            text = f"There is a body of the entry {self.next}, which there is not."
            self._findings.add("body_unexpected", text)
        for subject, header in self._present.items():
            if subject in self._erased:
                what = f"has a body, although entry {self._erased[subject]} erased its subject"
                self._findings.about("body_not_erased", header, what)
        explained: dict[str, int] = {}
        for (subject, kind), indexes in self._missing.items():
            reason = self._why_gone(subject, kind.decode(), indexes)
            if reason:
                explained[reason] = explained.get(reason, 0) + len(indexes)
        for reason, count in explained.items():
            self._findings.note("bodies", f"The private parts of {count} entries were {reason}.")
        if self._shipped == "none":
            self._findings.note("bodies", "No private parts are shipped, so none was opened.")
        text = f"Each of {self.opened} bodies opens its commitments; none is gone without an entry."
        self._findings.fine("bodies", text)

    def _why_gone(self, subject: str, kind: str, indexes: array[int]) -> str:
        if subject in self._erased:
            return f"erased by entry {self._erased[subject]}"
        left = indexes
        by = -1
        for kinds, before, index in self._retained:
            if any(kind.startswith(prefix) for prefix in kinds) and left[0] < before:
                left, by = array("Q", (each for each in left if each >= before)), index
            if not left:
                return f"removed when their time was over, by entry {by}"
        for index in left[:MAX_FINDINGS]:
            what = f"has lost its private parts, and no entry erased its subject {subject}"
            self._findings.at("body_missing", index, self._ids.get(index, ""), kind, what)
        return ""


def _committed(header: Header) -> set[str] | None:
    """The private fields that are not null; None for a kind that this verifier does not know."""
    fields = PRIVATE.get(header.kind.decode())
    if fields is None:
        return None
    return {name for name in fields if header.event.get(name) is not None}


def _body(value: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    """Index and parts of a line. Raises ValueError."""
    if not isinstance(value, dict) or set(value) != {"index", "parts"}:
        raise ValueError("it is no body")
    index, parts = value["index"], value["parts"]
    if type(index) is not int or not 0 <= index < NEVER or not isinstance(parts, dict) or not parts:
        raise ValueError("its index or its parts are none")
    for part in parts.values():
        whole = isinstance(part, dict) and set(part) == {"salt", "value"}
        if not whole or not layout.HEX.fullmatch(str(part["salt"])):
            raise ValueError("a part is not a salt and a value")
    return index, parts
