"""The only place that reads from an address which entries of the ledger are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from django.http import HttpRequest

from audit.selections import Selection, is_in_range
from console import pages

WITHIN = {
    "1h": ("The last hour", timedelta(hours=1)),
    "24h": ("The last 24 hours", timedelta(hours=24)),
    "7d": ("The last 7 days", timedelta(days=7)),
    "30d": ("The last 30 days", timedelta(days=30)),
}
LABELS = {
    "text": "Words",
    "kind": "Kind",
    "actor": "Actor",
    "agent": "Agent",
    "person": "Person",
    "correlation": "Run",
    "within": "Time",
    "after": "From",
    "before": "Before",
}
"""The filters by their names in an address (the REST API has the same), as people read them."""


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """A filter that is in force: its name, its value, and the address's query without it."""

    label: str
    value: str
    without: str


class Narrowing(msgspec.Struct, frozen=True, kw_only=True):
    """What narrows the entries down, as it was typed; "" narrows nothing.

    `within` names a time that moves along, and yields to `after` and `before`, which do not.
    """

    text: str = ""
    kind: str = ""
    actor: str = ""
    agent: str = ""
    person: str = ""
    correlation: str = ""
    within: str = ""
    after: str = ""
    before: str = ""

    @property
    def chosen(self) -> dict[str, str]:
        """The filters that are in force, by their names in an address."""
        values: dict[str, str] = msgspec.structs.asdict(self)
        return {name: text for name, text in values.items() if text}

    @property
    def query(self) -> str:
        """The part of an address that asks for the same."""
        return urlencode(self.chosen)

    def filters(self, now: datetime) -> dict[str, Any]:
        """What `audit.queries.entries` is asked for."""
        wanted: dict[str, Any] = {
            **self.chosen,
            "correlation": UUID(self.correlation) if self.correlation else None,
            "after": self.begins_at(now),
            "before": _moment(self.before),
        }
        wanted.pop("within", None)
        return {name: value for name, value in wanted.items() if value is not None}

    def begins_at(self, now: datetime) -> datetime | None:
        """From when on entries are asked for, or None."""
        return now - WITHIN[self.within][1] if self.within else _moment(self.after)

    @property
    def ends_at(self) -> datetime | None:
        """Until when entries are asked for, or None."""
        return _moment(self.before)

    def selection(self, now: datetime) -> Selection:
        """Which entries an export is about, of what `for_export` left."""
        return Selection(
            kind=self.kind or None,
            actor=self.actor or None,
            correlation=UUID(self.correlation) if self.correlation else None,
            after=self.begins_at(now),
            before=self.ends_at,
        )

    def chips(self, names: Mapping[str, str]) -> list[Chip]:
        """The filters that are in force, each with the way to clear it."""
        return [
            Chip(
                label=LABELS[name],
                value=_shown(name, text, names),
                without=urlencode({key: kept for key, kept in self.chosen.items() if key != name}),
            )
            for name, text in self.chosen.items()
        ]

    def between(self, begin: datetime, end: datetime) -> str:
        """The part of an address that asks for those of them in a stretch of time."""
        times = {"within": "", "after": _typed(begin), "before": _typed(end)}
        return msgspec.structs.replace(self, **times).query


def asked(request: HttpRequest) -> tuple[Narrowing, list[str]]:
    """What an address asks for, and what of it can't be understood, in sentences."""
    return read({name: pages.asked(request, name) for name in LABELS})


def read(typed: Mapping[str, str]) -> tuple[Narrowing, list[str]]:
    """What was typed into the filters, and what of it can't be understood, in sentences.

    Where there is such a sentence the rest MUST NOT be shown as what was asked for.
    """
    values = {name: typed.get(name, "") for name in LABELS}
    wrong = []
    for name, (is_fine, what) in CHECKS.items():
        if values[name] and not is_fine(values[name]):
            wrong.append(f"“{values[name]}” is {what}, so nothing is looked for.")
            values[name] = ""
    for name in ("after", "before"):
        moment = _moment(values[name])
        values[name] = _typed(moment) if moment else ""
    if values["after"] or values["before"]:
        values["within"] = ""
    return Narrowing(**values), wrong


def for_export(asked: Narrowing) -> Narrowing:
    """As much of it as an auditor could run again on the headers of a bundle.

    What an agent did are the entries of the actor with its slug.
    """
    actor = asked.actor or asked.agent
    return msgspec.structs.replace(asked, text="", person="", agent="", actor=actor)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


CHECKS = {
    "correlation": (_is_id, "no run's id"),
    "within": (WITHIN.__contains__, "no length of time that is offered"),
    "after": (lambda text: _moment(text) is not None, "no time"),
    "before": (lambda text: _moment(text) is not None, "no time"),
}


def _moment(text: str) -> datetime | None:
    """A moment as fields and people write it, in UTC unless it says otherwise; None for others, and
    for what no entry can be of.
    """
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if is_in_range(found) else None


def _typed(moment: datetime) -> str:
    """A moment as the browser's fields write it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def _shown(name: str, text: str, names: Mapping[str, str]) -> str:
    if name == "within":
        return WITHIN[text][0]
    if name in {"after", "before"}:
        return f"{text.replace('T', ' ')} UTC"
    if name == "kind" and text.endswith("."):
        return f"every {text.removesuffix('.')}"
    return names.get(text, text)
