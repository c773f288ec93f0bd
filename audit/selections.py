"""The only place that says which entries an export is about."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from audit.entries import rfc3339
from audit.errors import Problem

YEARS = range(2000, 3000)


class SelectionMalformed(Problem):
    """Entries are selected by times in the years 2000 to 2999 (UTC): {name} is {moment}."""

    code = "selection_malformed"
    status = 422


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The entries that fit all that is given, and every entry where nothing is.

    `kind` is how the entry's kind begins, `actor` the actor's id, `after` <= recorded_at <
    `before`; both in the years that an entry can be of. Raises SelectionMalformed.
    """

    kind: str | None = None
    actor: str | None = None
    correlation: UUID | None = None
    after: datetime | None = None
    before: datetime | None = None

    def __post_init__(self) -> None:
        """What a manifest can't say is refused here, and not by whoever reads it."""
        for name, moment in (("after", self.after), ("before", self.before)):
            if moment is not None and not is_in_range(moment):
                raise SelectionMalformed(name=name, moment=moment.isoformat())

    def as_json(self) -> dict[str, str]:
        """The filter as a bundle's manifest names it."""
        shown = {
            "kind": self.kind,
            "actor": self.actor,
            "correlation": str(self.correlation) if self.correlation else None,
            "after": rfc3339(self.after) if self.after else None,
            "before": rfc3339(self.before) if self.before else None,
        }
        return {name: text for name, text in shown.items() if text is not None}

    def fits(
        self, *, kind: str, actor: str, correlation: UUID | None, recorded_at: datetime
    ) -> bool:
        """Whether an entry with these fields is selected."""
        return (
            kind.startswith(self.kind or "")
            and self.actor in {None, actor}
            and self.correlation in {None, correlation}
            and (self.after is None or self.after <= recorded_at)
            and (self.before is None or recorded_at < self.before)
        )


def is_in_range(moment: datetime) -> bool:
    """Whether an entry could have been recorded then, as far as its form goes."""
    try:
        return moment.astimezone(UTC).year in YEARS
    except OverflowError:
        return False


EVERYTHING = Selection()
