"""The only place that asks whether something is missing inside of a run or call (a correlation).

Its entries are numbered from 0 and each names the leaf hash of the one before; the entry that
closes a run says how many it has. What had begun before may still end after that.
"""

from __future__ import annotations

from binascii import unhexlify

from audit.verify.headers import Header
from audit.verify.report import Findings

CLOSING = (b"run.completed", b"run.failed", b"run.cancelled")
ENDINGS = (b"effect.ended", b"effect.failed", b"effect.unknown")
_NO_RUN = "run_gap", "has a number in a run or call, and belongs to none"
_OVER = "run_continued", "belongs to a run that was closed before"


class Runs:
    """What is known of every correlation so far: the next number and the last leaf's hash."""

    def __init__(self, findings: Findings, *, is_pruned: bool) -> None:
        self._findings = findings
        self._is_pruned = is_pruned
        self._next: dict[bytes, tuple[int, bytes]] = {}
        self._closed: set[bytes] = set()
        # How many effects of a correlation have begun and not ended.
        self._open: dict[bytes, int] = {}

    def follow(
        self,
        correlation: bytes | None,
        sequence: bytes | None,
        previous: bytes | None,
        leaf: bytes,
    ) -> tuple[str, str] | None:
        """Note an entry's place in its correlation, and what is wrong with it: code and words."""
        if correlation is None:
            return _NO_RUN if sequence or previous else None
        number = -1 if sequence is None else int(sequence)
        expected = self._next.get(correlation)
        self._next[correlation] = (number + 1, leaf)
        if expected is None:
            return self._opening(number, previous)
        if number != expected[0]:
            return "run_gap", f"is number {number} of its run or call, after {expected[0] - 1}"
        if previous is None or unhexlify(previous) != expected[1]:
            return "run_forked", "names another entry before it in its run or call than there is"
        return _OVER if correlation in self._closed and correlation not in self._open else None

    def _opening(self, number: int, previous: bytes | None) -> tuple[str, str] | None:
        if self._is_pruned and number > 0:
            return None
        if number != 0:
            return "run_gap", f"is number {number} of its run or call, and none is before it"
        if previous is not None:
            return "run_forked", "begins its run or call, and names an entry before it"
        return None

    def close(self, header: Header) -> None:
        """The entry that ends a run: it says how many entries the run has."""
        counted = header.event.get("entries")
        if counted != header.sequence + 1:
            what = (
                f"counts {counted} entries of its run, of which it is the number {header.sequence}"
            )
            self._findings.about("run_miscounted", header, what)
        if header.correlation is not None:
            self._closed.add(header.correlation)

    def begin(self, header: Header) -> None:
        """An effect began."""
        if header.correlation is not None:
            self._open[header.correlation] = self._open.get(header.correlation, 0) + 1

    def end(self, correlation: bytes | None) -> None:
        """An effect ended, or was taken up by another try."""
        if correlation is not None and self._open.get(correlation):
            self._open[correlation] -= 1
            if not self._open[correlation]:
                del self._open[correlation]
