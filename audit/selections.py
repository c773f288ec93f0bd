"""The only place that says which entries an export is about."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from audit.entries import rfc3339


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The entries that fit all that is given, and every entry where nothing is.

    `kind` is how the entry's kind begins, `actor` the actor's id, `after` <= recorded_at <
    `before`.
    """

    kind: str | None = None
    actor: str | None = None
    correlation: UUID | None = None
    after: datetime | None = None
    before: datetime | None = None

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


EVERYTHING = Selection()
