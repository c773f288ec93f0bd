"""The only place where the ledger is read and exported on somebody's behalf, which is recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit import archives, bundles, following, ledger, outside, queries
from audit.bundles import Exported
from audit.queries import EntryUnknown
from audit.recoveries import Halt, HaltUnknown, RecoveryApprovedAlready
from audit.selections import EVERYTHING, Selection
from runtime.events import (
    LedgerExported,
    LedgerReconciled,
    LedgerRecoveryApproved,
    LedgerViewed,
)
from runtime.queries import runs_visible_to
from tenants.principals import Principal

if TYPE_CHECKING:
    from audit.models import Entry

READERS = ("admin", "auditor")


def entries(*, principal: Principal, **filters: Any) -> QuerySet[Entry]:
    """The entries that `principal` may read, newest first; `filters` as in `audit.queries`.

    Admins and auditors read all of them, other members none, and a client app those of its own
    runs; it can't look for a person, whose pseudonym an answer would tell. Raises NotPermitted.
    """
    if principal.kind == "member" or filters.get("person") is not None:
        principal.require(*READERS)
    found = queries.entries(**filters)
    if principal.kind == "member":
        return found
    return found.filter(correlation__in=runs_visible_to(principal).values("pk"))


def access_entry(entry_id: UUID, *, principal: Principal) -> Entry:
    """The entry, if `principal` may read it. Raises EntryUnknown, NotPermitted."""
    entry = entries(principal=principal).filter(pk=entry_id).first()
    if entry is None:
        raise EntryUnknown(entry=str(entry_id))
    return entry


def view(entry: Entry, *, by: Principal) -> None:
    """Record that `by` looked at the entry."""
    with transaction.atomic():
        ledger.record(LedgerViewed(entry=str(entry.pk)), actor=by.actor)


def private(entry: Entry, *, principal: Principal) -> dict[str, Any] | None:
    """What is private of the entry, as in `audit.queries`; None to whoever may not read it.

    It is part of a view: to be recorded by `view` first. Raises what `audit.queries.private` does.
    """
    return queries.private(entry) if principal.has(*READERS) else None


def look_at(entries: Sequence[Entry], *, by: Principal) -> dict[UUID, dict[str, Any]]:
    """What is private of those that have such parts, by their ids, after recording each look.

    Raises NotPermitted, and what `audit.queries.private` does.
    """
    by.require(*READERS)
    opened = queries.opened([entry.pk for entry in entries])
    with transaction.atomic():
        for entry in opened:
            ledger.record(LedgerViewed(entry=str(entry)), actor=by.actor)
    return opened


def checkpoint_note(*, principal: Principal) -> str:
    """The newest checkpoint for a tlog client. Raises NotPermitted, NotPublished."""
    principal.require(*READERS)
    return following.checkpoint()


def tile(path: str, *, principal: Principal) -> bytes:
    """A tile or an entry bundle for a tlog client. Raises NotPermitted, following.TileUnknown.

    Not recorded as a view: it holds no private parts, and a log that grew by being followed would
    never be caught up with.
    """
    principal.require(*READERS)
    return following.tile(path)


def export(
    target: BinaryIO,
    *,
    by: Principal,
    now: datetime,
    selection: Selection = EVERYTHING,
    with_bodies: bool = True,
) -> Exported:
    """Write the tenant's ledger to `target` as a bundle in one `.tar.zst`, and record it before it
    is given out.

    Raises NotPermitted (auditors and admins export), NotPublished.
    """
    by.require(*READERS)
    with tempfile.TemporaryDirectory(prefix="bundle-") as name:
        folder = Path(name)
        exported = bundles.export(folder, now=now, selection=selection, with_bodies=with_bodies)
        archives.pack(folder, target)
    with transaction.atomic():
        record_export(exported, by=by, selection=selection, with_bodies=with_bodies)
    return exported


def record_export(
    exported: Exported, *, by: Principal, selection: Selection, with_bodies: bool
) -> None:
    """Record that `by` takes out a bundle, in the caller's transaction."""
    event = LedgerExported(
        size=exported.size,
        root=exported.root,
        not_covered=exported.not_covered,
        filter=selection.as_json(),
        selected=exported.selected,
        bodies="selected" if with_bodies else "none",
    )
    ledger.record(event, actor=by.actor)


def reconciled(*, principal: Principal) -> Entry | None:
    """What came of the newest comparison of rows with entries. Raises NotPermitted."""
    principal.require(*READERS)
    return queries.entries(kind=LedgerReconciled.kind).first()


def halts(*, principal: Principal) -> list[Halt]:
    """Why the ledger is halted, oldest first; nothing where it is not. Raises NotPermitted."""
    principal.require(*READERS)
    return outside.halts()


def approve_recovery(halt: UUID, *, by: Principal) -> int:
    """Let the ledger go on without what it lost, as far as `by` is concerned; recorded.

    Returns how many members have yet to; then the sequencer goes on. Raises NotPermitted (admins
    and auditors approve), HaltUnknown (also of one that is recovered), RecoveryApprovedAlready.
    """
    found = {each.id: each for each in halts(principal=by)}.get(halt)
    if found is None:
        raise HaltUnknown(halt=str(halt))
    if by.id in found.approvers:
        raise RecoveryApprovedAlready
    event = LedgerRecoveryApproved(
        halt=str(found.id),
        signed_size=found.signed_size,
        signed_root=found.signed_root.hex(),
        size=found.size,
    )
    with transaction.atomic():
        ledger.record(event, actor=by.actor)
    return found.missing - 1
