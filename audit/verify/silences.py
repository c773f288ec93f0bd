"""The only place that looks for stretches in which a log says nothing at all.

A log that is written to has an entry an hour, if only a heartbeat. A longer stretch without any is
told, and is no finding: that an installation was switched off for a night can't be told from one
that was kept from recording, and a verdict that fails after every night teaches people not to look
at it. What was recorded is whole; *that* nothing was is for the reader to explain.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from audit.verify.report import MAX_FINDINGS, Findings

LONGEST_SILENCE = timedelta(hours=2)
"""Twice what a running installation lets pass: a restart, or a late worker, is none."""

_HOUR = len("2026-03-02T12")


class Silences:
    """The stretches without an entry that were seen so far, in memory that does not grow."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._count = 0
        self._longest = timedelta()
        self.last_at = b""
        """The latest time that an entry was recorded at, as entries write it."""
        # Greater than every time in the hour of `last_at`: nothing else need be asked of these.
        self._same_hour = b""

    def follow(self, first: int, times: list[bytes]) -> None:
        """Note when the entries from index `first` on were recorded; b"" where nobody can tell."""
        newest = max(times)
        if newest <= self._same_hour:
            self.last_at = max(self.last_at, newest)
            return
        for index, at in enumerate(times, first):
            if at > self._same_hour:
                self._note(self.last_at, at, f"before the entry at index {index}")
                self._same_hour = at[:_HOUR] + b"~"
            self.last_at = max(self.last_at, at)

    def finish(self, made_at: bytes) -> None:
        """The stretch from the last entry until the bundle was made; and how many there were."""
        self._note(self.last_at, made_at, "from the last entry until the bundle was made")
        if self._count > MAX_FINDINGS:
            text = (
                f"There were {self._count} such stretches; the longest lasted {self._longest}."
                f" The first {MAX_FINDINGS} are named."
            )
            self._findings.note("silence", text)

    def _note(self, before: bytes, after: bytes, where: str) -> None:
        lasted = _between(before, after)
        if lasted <= LONGEST_SILENCE:
            return
        self._count += 1
        self._longest = max(self._longest, lasted)
        if self._count <= MAX_FINDINGS:
            text = (
                f"Nothing at all was recorded for {lasted} (hours:minutes:seconds) {where}, since"
                f" {before.decode()}: recording had stopped, or was kept from working."
            )
            self._findings.note("silence", text)


def _between(before: bytes, after: bytes) -> timedelta:
    try:
        lasted = datetime.fromisoformat(after.decode()) - datetime.fromisoformat(before.decode())
    except ValueError:  # none before the first, and the thirtieth of February is no day
        return timedelta()
    return timedelta(seconds=lasted // timedelta(seconds=1))
