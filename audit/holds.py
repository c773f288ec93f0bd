"""The only place for legal holds: what is held can neither be erased nor pruned.

A hold is placed and released by its entry: PostgreSQL writes the hold's row as the entry is
recorded, and refuses to destroy what a hold keeps (audit.triggers).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from audit import ledger, queries, subjects
from audit.errors import Problem
from audit.events import Actor, HoldPlaced, HoldReleased
from audit.models import Hold


class UnderHold(Problem):
    """The legal hold {hold} keeps this. It has to be released first."""

    code = "under_hold"
    status = 409


class HoldUnknown(Problem):
    """There is no legal hold {hold}."""

    code = "hold_unknown"
    status = 404


class HoldEnded(Problem):
    """The legal hold {hold} was released already."""

    code = "hold_ended"
    status = 409


def place(people: Sequence[str], *, reason: str, actor: Actor) -> UUID:
    """Keep what is private of `people` (names as in audit.subjects, of one person), or of everybody
    where nobody is named; the hold's id. In the caller's transaction.
    """
    ids = [str(subjects.of(person).id) for person in people]
    event = HoldPlaced(subjects=ids or None, person=people[0] if people else None, reason=reason)
    return ledger.record(event, actor=actor, person=people[0] if people else None)


def release(hold: Hold, *, reason: str, actor: Actor) -> None:
    """End the hold. In the caller's transaction. Raises HoldEnded."""
    if hold.released_at is not None:
        raise HoldEnded(hold=str(hold.pk))
    ((person, _),) = told([hold])
    ledger.record(HoldReleased(hold=str(hold.pk), reason=reason), actor=actor, person=person)


def check(ids: Collection[UUID]) -> None:
    """Raise UnderHold if one of the subjects, or the whole log, is held."""
    held = standing().filter(Q(subjects=None) | Q(subjects__overlap=list(ids))).first()
    if held is not None:
        raise UnderHold(hold=str(held.pk))


def standing() -> QuerySet[Hold]:
    """The acting tenant's holds that were not released, newest first."""
    return every().filter(release=None)


def every() -> QuerySet[Hold]:
    """The acting tenant's holds, newest first. Raises roles.NoLedger."""
    found = Hold.objects.filter(log=queries.own_log())
    return found.select_related("release").order_by("-id")


def access(hold: UUID) -> Hold:
    """The acting tenant's hold. Raises HoldUnknown."""
    found = every().filter(pk=hold).first()
    if found is None:
        raise HoldUnknown(hold=str(hold))
    return found


def told(found: Sequence[Hold]) -> list[tuple[str | None, str | None]]:
    """On whom (None: everybody) and why each was placed; nothing of it once it was erased.

    Raises BodyUnreadable, SubjectKeyUnreadable.
    """
    opened = queries.opened([hold.pk for hold in found])
    parts = [opened.get(hold.pk, {}) for hold in found]
    return [(_value(each, "person"), _value(each, "reason")) for each in parts]


def _value(parts: dict[str, Any], name: str) -> str | None:
    value: str | None = parts.get(name, {}).get("value")
    return value
