"""The only place that goes through the entries, once, and hands each to whoever asks about it.

What is asked of every entry is inlined in one loop, since it is what a verdict's time goes into;
only entries of the kinds in `_handlers` are read any further.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from audit.tiles import HASH_BYTES, WIDTH
from audit.verify import headers, layout
from audit.verify.approvals import Approvals, Policies
from audit.verify.bodies import Bodies
from audit.verify.continuing import Exports
from audit.verify.effects import Effects
from audit.verify.grants import Grants
from audit.verify.headers import Header
from audit.verify.layout import Manifest
from audit.verify.reading import LONGEST_ENTRY, batches
from audit.verify.report import MAX_FINDINGS, Findings
from audit.verify.runs import CLOSING, ENDINGS, Runs
from audit.verify.signing import Rotations
from audit.verify.silences import Silences
from audit.verify.tree import Tree

Handler = Callable[[Header], None]


class Entries:
    """One pass over the entries of a bundle."""

    def __init__(
        self, folder: Path, manifest: Manifest, findings: Findings, *, origin: str, latest: bytes
    ) -> None:
        """No entry may have been recorded after `latest`, a time as entries write it."""
        pruned = manifest.first > 0
        self._path = folder / layout.ENTRIES
        self._manifest = manifest
        self._findings = findings
        self._match = headers.matcher(origin)
        self._latest = latest
        self._passes = layout.selector(manifest.filter) if manifest.filter else None
        self.rotations, self.exports = Rotations(), Exports()
        self._runs = Runs(findings, is_pruned=pruned)
        policies = Policies(findings, is_pruned=pruned)
        approvals = Approvals(policies, findings, is_pruned=pruned)
        grants = Grants(findings, is_pruned=pruned)
        self._effects = Effects(grants, approvals, self._runs, findings, is_pruned=pruned)
        passes = self._passes if manifest.bodies == "selected" else None
        self._bodies = Bodies(
            folder / layout.BODIES,
            findings,
            shipped=manifest.bodies,
            passes=passes or (lambda _: True),
        )
        self._handlers = self._who_asks(policies, grants, approvals)
        self._ids: set[bytes] = set()
        self._silences = Silences(findings)
        self.count = 0
        self.selected = 0
        self.differs = False
        """Whether a line has not the hash of its leaf."""

    def _who_asks(
        self, policies: Policies, grants: Grants, approvals: Approvals
    ) -> dict[bytes, Handler]:
        handlers: dict[bytes, Handler] = {
            b"intent.decided": self._effects.decided,
            b"effect.begun": self._effects.begun,
            b"approval.opened": approvals.opened,
            b"approval.approved": approvals.voted,
            b"approval.rejected": approvals.voted,
            b"approval.spent": approvals.spent,
            b"approval.expired": approvals.closed,
            b"approval.cancelled": approvals.closed,
            b"policy.activated": policies.activated,
            b"grant.given": grants.given,
            b"grant.revoked": grants.revoked,
            b"subject.erased": self._bodies.erased,
            b"retention.applied": self._bodies.retained,
            b"ledger.key_rotated": self.rotations.rotated,
            b"ledger.exported": self.exports.exported,
        }
        handlers.update(dict.fromkeys(ENDINGS, self._effects.ended))
        handlers.update(dict.fromkeys(CLOSING, self._runs.close))
        return handlers

    def read(self, tree: Tree) -> None:
        """Go through them all, and grow `tree` by their leaves."""
        for number in range(self._manifest.first // WIDTH):
            tree.add(tree.leaves(number))
        for index, lines in batches(self._path, self._manifest.first, WIDTH):
            hashes = [sha256(b"\x00" + line).digest() for line in lines]
            self._compare(tree, index, hashes)
            if max(map(len, lines)) > LONGEST_ENTRY:
                self._too_long(index, lines)
            self._read(index, lines, hashes)
        for number in range(-(-(self._manifest.first + self.count) // WIDTH), tree.tiles):
            self.differs = True
            tree.add(tree.leaves(number))
        self._finish()

    def _compare(self, tree: Tree, index: int, hashes: list[bytes]) -> None:
        """The tiles are the measure of which entry was touched; without one, the entries are."""
        number, at = divmod(index, WIDTH)
        self.count += len(hashes)
        if number >= tree.tiles:
            self.differs = True
            return
        joined, stored = b"".join(hashes), tree.leaves(number)
        if stored and joined != stored[at * HASH_BYTES :]:
            self.differs = True
        tree.add(stored or joined)

    def _read(self, first: int, lines: list[bytes], hashes: list[bytes]) -> None:
        match, handlers, bodies = self._match, self._handlers, self._bodies
        follow = self._runs.follow
        seen, fresh, times = len(self._ids), [], [b""] * len(lines)
        for index, (line, leaf) in enumerate(zip(lines, hashes, strict=True), first):
            found = match(line) if line.isascii() or _is_text(line) else None
            found = found or self._odd(index, line)
            if found is None:
                continue
            groups = found.groups()
            correlation, _, id_, kind, occurred_at, previous, recorded_at, sequence, subject = (
                groups
            )
            fresh.append(id_)
            times[index - first] = recorded_at
            if occurred_at > recorded_at or recorded_at > self._latest:
                self._untimely(Header(index, line, groups))
            wrong = follow(correlation, sequence, previous, leaf)
            if wrong:
                self._findings.about(wrong[0], Header(index, line, groups), wrong[1])
            if subject is not None or index == bodies.next or kind in handlers or self._passes:
                self._ask(Header(index, line, groups), handlers.get(kind))
        self._ids.update(fresh)
        if len(self._ids) - seen != len(fresh):
            self._repeated(first, lines)
        self._silences.follow(first, times)

    def _ask(self, header: Header, handler: Handler | None) -> None:
        if self._passes is not None and self._passes(header):
            self.selected += 1
        try:
            if header.index == self._bodies.next:
                self._bodies.open(header)
            elif header.subject is not None:
                self._bodies.expect(header)
            if handler is not None:
                handler(header)
        except ValueError as problem:
            what = f"has an event that can't be read: {problem}"
            self._findings.about("event_malformed", header, what)

    def _too_long(self, first: int, lines: list[bytes]) -> None:
        for index, line in enumerate(lines, first):
            if len(line) > LONGEST_ENTRY:
                what = f"is longer than {LONGEST_ENTRY} bytes"
                self._findings.at("entry_malformed", index, *headers.shown(line)[:2], what)

    def _odd(self, index: int, line: bytes) -> Any:
        """An entry of another log, which is read on, or none at all."""
        found = headers.matches_any_log(line) if _is_text(line) else None
        id_, kind, log = headers.shown(line)
        if found is None:
            what = "is not canonical JSON with the members of an entry"
            self._findings.at("entry_malformed", index, id_, kind, what)
        else:
            what = f"belongs to another log, {log!r}"
            self._findings.at("foreign_origin", index, id_, kind, what)
        return found

    def _untimely(self, header: Header) -> None:
        recorded_at, occurred_at = header.recorded_at.decode(), header.occurred_at.decode()
        if header.occurred_at > header.recorded_at:
            what = f"was recorded at {recorded_at}, before it occurred at {occurred_at}"
            self._findings.about("recorded_too_early", header, what)
        if header.recorded_at > self._latest:
            what = f"was recorded at {recorded_at}, in the future of {self._latest.decode()}"
            self._findings.about("from_the_future", header, what)

    def _repeated(self, first: int, lines: list[bytes]) -> None:
        """Name the second entry of an id: here all earlier ones are gone through again."""
        if self._findings.counts["id_repeated"] >= MAX_FINDINGS:
            return
        seen: set[bytes] = set()
        for index, earlier in batches(self._path, self._manifest.first, WIDTH):
            for at, line in enumerate(earlier, index):
                found = headers.matches_any_log(line)
                if found is None:
                    continue
                if found[3] in seen and at >= first:
                    header = Header(at, line, found.groups())
                    self._findings.about("id_repeated", header, "has the id of an earlier one")
                seen.add(found[3])
            if index >= first:
                return

    def _finish(self) -> None:
        self._effects.finish(self._silences.last_at)
        self._bodies.finish()
        self._silences.finish(self._manifest.created_at.encode())
        if self._passes is None:
            self.selected = self.count


def _is_text(line: bytes) -> bool:
    """Whether these bytes are UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
