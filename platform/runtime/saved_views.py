"""The only place for saved views: filters of the ledger that a member keeps under a name.

A view is its owner's alone, or shared with everybody who reads the ledger. What is shared is part
of how a tenant looks at its trail, so sharing, renaming and withdrawing it are entries. An admin
may change and remove what others shared, so that it does not outlive its owner's stay.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from audit import ledger
from audit.errors import Problem
from runtime.events import SavedViewRenamed, SavedViewShared, SavedViewWithdrawn
from runtime.ledgers import READERS
from runtime.models import SavedView
from tenants.principals import Principal

LONGEST_NAME = 100
MOST_VIEWS = 100


class ViewUnknown(Problem):
    """There is no saved view {view} that you may change."""

    code = "view_unknown"
    status = 404


class ViewNameInvalid(Problem):
    """A saved view has a name of 1 to 100 characters of text."""

    code = "view_name_invalid"
    status = 422


class ViewNameTaken(Problem):
    """You have a saved view of the name {name} already."""

    code = "view_name_taken"
    status = 409


class ViewWithoutFilters(Problem):
    """There is nothing to save: no filter is in force."""

    code = "view_without_filters"
    status = 422


class TooManyViews(Problem):
    """You have {most} saved views. Remove one first."""

    code = "too_many_views"
    status = 409


def save(
    name: str, filters: Mapping[str, str], *, shared: bool, by: Principal, now: datetime
) -> SavedView:
    """Keep `filters` under a name.

    Raises NotPermitted (auditors and admins read the ledger), ViewNameInvalid, ViewNameTaken,
    ViewWithoutFilters, TooManyViews.
    """
    by.require(*READERS)
    if not filters:
        raise ViewWithoutFilters
    if SavedView.objects.filter(owner=by.id).count() >= MOST_VIEWS:
        raise TooManyViews(most=MOST_VIEWS)
    row = SavedView(owner=by.id, filters=dict(filters), shared=shared, created_at=now)
    with transaction.atomic():
        _name(row, name)
        if shared:
            _record_shared(row, by)
    return row


def seen_by(principal: Principal) -> QuerySet[SavedView]:
    """The principal's own views and what others share, by name. Raises NotPermitted."""
    principal.require(*READERS)
    return SavedView.objects.filter(Q(owner=principal.id) | Q(shared=True))


def access(view: UUID, *, principal: Principal) -> SavedView:
    """A view that the principal may change. Raises ViewUnknown, NotPermitted."""
    row = seen_by(principal).filter(pk=view).first()
    if row is None or not may_change(row, principal):
        raise ViewUnknown(view=str(view))
    return row


def may_change(row: SavedView, principal: Principal) -> bool:
    """Whether it is the principal's own, or shared and the principal an admin."""
    return row.owner == principal.id or (row.shared and principal.has("admin"))


def change(row: SavedView, *, name: str, shared: bool, by: Principal) -> None:
    """Rename it, share it or take it back. Raises ViewUnknown, ViewNameInvalid, ViewNameTaken.

    Only its owner takes a view back: what is somebody's alone is not for others to make.
    """
    with transaction.atomic():
        row = _locked(row, by)
        before = (row.name, row.shared)
        row.shared = shared or (row.shared and row.owner != by.id)
        _name(row, name)
        if row.shared and not before[1]:
            _record_shared(row, by)
        elif before[1] and not row.shared:
            ledger.record(SavedViewWithdrawn(view=str(row.pk)), actor=by.actor)
        elif row.shared and row.name != before[0]:
            ledger.record(SavedViewRenamed(view=str(row.pk), name=row.name), actor=by.actor)


def remove(row: SavedView, *, by: Principal) -> None:
    """Forget it. Raises ViewUnknown."""
    with transaction.atomic():
        row = _locked(row, by)
        if row.shared:
            ledger.record(SavedViewWithdrawn(view=str(row.pk)), actor=by.actor)
        row.delete()


def erase_of(words: Collection[str]) -> int:
    """Remove the views that belong to one of `words` or name one; how many there were.

    In the caller's transaction.
    """
    found = [row.pk for row in SavedView.objects.all() if _names(row, words)]
    SavedView.objects.filter(pk__in=found).delete()
    return len(found)


def _names(row: SavedView, words: Collection[str]) -> bool:
    said = "\n".join([row.owner, row.name, *row.filters.values()])
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said, re.IGNORECASE) for word in words)


def _locked(row: SavedView, by: Principal) -> SavedView:
    found = seen_by(by).select_for_update().filter(pk=row.pk).first()
    if found is None or not may_change(found, by):
        raise ViewUnknown(view=str(row.pk))
    return found


def _name(row: SavedView, name: str) -> None:
    """Give it the name, and save it."""
    name = name.strip()
    if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise ViewNameInvalid
    row.name = name
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise ViewNameTaken(name=name) from None


def _record_shared(row: SavedView, by: Principal) -> None:
    event = SavedViewShared(view=str(row.pk), name=row.name, filters=row.filters)
    ledger.record(event, actor=by.actor)
