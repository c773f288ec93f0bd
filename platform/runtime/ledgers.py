"""The only place where the ledger is read and exported on somebody's behalf, which is recorded."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit import bundles, ledger, queries
from audit.bundles import Exported
from audit.queries import EntryUnknown
from runtime.events import LedgerExported, LedgerViewed
from runtime.queries import runs_visible_to
from tenants.principals import Principal

if TYPE_CHECKING:
    from audit.models import Entry

READERS = ("admin", "auditor")


def entries(*, principal: Principal, **filters: Any) -> QuerySet[Entry]:
    """The entries that `principal` may read, newest first; `filters` as in `audit.queries`.

    Admins and auditors read all of them, everybody else those of the runs that they may see.
    """
    found = queries.entries(**filters)
    if principal.kind == "member" and principal.has(*READERS):
        return found
    return found.filter(correlation__in=runs_visible_to(principal).values("pk"))


def access_entry(entry_id: UUID, *, principal: Principal) -> Entry:
    """The entry, if `principal` may read it. Raises EntryUnknown."""
    entry = entries(principal=principal).filter(pk=entry_id).first()
    if entry is None:
        raise EntryUnknown(entry=str(entry_id))
    return entry


def view(entry: Entry, *, by: Principal) -> None:
    """Record that `by` looked at the entry."""
    with transaction.atomic():
        ledger.record(LedgerViewed(entry=str(entry.pk)), actor=by.actor)


def export(target: Path | BinaryIO, *, by: Principal, now: datetime) -> Exported:
    """Write the tenant's ledger to `target` as a bundle, and record it before it is given out.

    Raises NotPermitted (auditors and admins export), NotPublished.
    """
    by.require("auditor", "admin")
    exported = bundles.export(target, now=now)
    event = LedgerExported(size=exported.size, root=exported.root, not_covered=exported.not_covered)
    with transaction.atomic():
        ledger.record(event, actor=by.actor)
    return exported
