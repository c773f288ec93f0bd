"""The only place for exports that are made in the background: asked for, made, fetched, removed.

1. *Asked for*: a row, in the commit that answers the asker. 2. *Claimed* by one worker, which keeps
the claim as long as it tells of progress. 3. *Written* beside its place. 4. *Ready*: the row, the
file's name and the entry that says who takes what out become true in one commit, so nothing can be
fetched that is not recorded.

A worker that was killed loses its claim, the sweeper queues the export again, and another worker
goes on in the folder that it left, under the same head. One that was only slow still holds the lock
of its folder, so that the other begins anew; it finds its claim lost, and its work is dropped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import F, Q, QuerySet

from audit import archives, bundles, durable_files, queries
from audit.bundles import Exported
from audit.errors import Problem
from audit.events import RetentionApplied
from audit.selections import Selection
from runtime import export_folders, ledgers, nudges
from runtime.ledgers import READERS
from runtime.models import ExportState, LedgerExport
from runtime.queries import principal_named
from tenants.principals import Principal

Clock = Callable[[], datetime]

LIFE = timedelta(hours=24)
# Longer than what lies between two signs of life: packing the largest file of a bundle.
CLAIM = timedelta(minutes=5)
MOST_ATTEMPTS = 3


class ExportUnknown(Problem):
    """There is no export {export} of yours, or its day is over."""

    code = "export_unknown"
    status = 404


class ExportNotReady(Problem):
    """The export {export} is {state}."""

    code = "export_not_ready"
    status = 409


class ExportPruned(Problem):
    """The export {export} held private parts that retention has destroyed since. Ask again."""

    code = "export_pruned"
    status = 410


class ExportAbandoned(Problem):
    """The workers that made the export {export} died {attempts} times."""

    code = "export_abandoned"
    status = 503


class ExportNotWritten(Problem):
    """The disk did not take the export {export}, {attempts} times over."""

    code = "export_not_written"
    status = 503


class ClaimLost(Problem):
    """The export {export} is not this worker's any more, whose work was dropped."""

    code = "export_claim_lost"
    status = 409


def ask(selection: Selection, *, with_bodies: bool, by: Principal, now: datetime) -> LedgerExport:
    """An export that a worker is told to make. Raises NotPermitted (auditors and admins export)."""
    by.require(*READERS)
    with transaction.atomic():
        row = LedgerExport.objects.create(
            requester=by.id,
            means=by.means,
            filter=selection.as_json(),
            with_bodies=with_bodies,
            created_at=now,
        )
        nudges.export_after_commit(row.pk)
    return row


def asked_for(*, principal: Principal) -> QuerySet[LedgerExport]:
    """The principal's exports, newest first: nobody fetches what is recorded as another's.

    Raises NotPermitted.
    """
    principal.require(*READERS)
    return LedgerExport.objects.filter(requester=principal.id).order_by("-id")


def access(export_id: UUID, *, principal: Principal) -> LedgerExport:
    """The principal's export. Raises ExportUnknown, NotPermitted."""
    row = asked_for(principal=principal).filter(pk=export_id).first()
    if row is None:
        raise ExportUnknown(export=str(export_id))
    return row


def bundle_of(row: LedgerExport) -> BinaryIO:
    """The finished bundle, to be closed by the caller.

    Raises ExportNotReady, ExportPruned, ExportUnknown.
    """
    if row.state == ExportState.PRUNED:
        raise ExportPruned(export=str(row.pk))
    if row.state != ExportState.READY:
        raise ExportNotReady(export=str(row.pk), state=row.state)
    try:
        return export_folders.place(row.pk).open("rb")
    except FileNotFoundError:
        raise ExportUnknown(export=str(row.pk)) from None


def make(export_id: UUID, *, clock: Clock) -> None:
    """Make the export, unless it is made or another worker is at it; what fails is noted on it.

    Raises ExportUnknown, ClaimLost; OSError where the disk fails and the export is tried again,
    when the claim is over: by then there may be room.
    """
    row = _claimed(export_id, now=clock())
    if row is None:
        return
    claim = _Claim(row, clock)
    try:
        with export_folders.workplace(row.pk, row.attempts) as folder:
            _make_or_give_up(row, claim, folder)
    except ClaimLost:
        raise
    except Problem as problem:
        claim.change(state=ExportState.FAILED, failure=problem.code, ended_at=clock())


def _claimed(export_id: UUID, *, now: datetime) -> LedgerExport | None:
    rows = LedgerExport.objects.filter(pk=export_id)
    free = Q(state=ExportState.QUEUED) | Q(state=ExportState.RUNNING, claimed_until__lt=now)
    changed = rows.filter(free).update(
        state=ExportState.RUNNING, attempts=F("attempts") + 1, claimed_until=now + CLAIM
    )
    row = rows.first()
    if row is None:
        raise ExportUnknown(export=str(export_id))
    return row if changed else None


class _Claim:
    """The right to make an export, as long as nobody else has taken it over."""

    def __init__(self, row: LedgerExport, clock: Clock) -> None:
        self._row = row
        self.clock = clock

    def keep(self) -> None:
        """Hold on to it. Raises ClaimLost."""
        self.change()

    def progressed(self, done: int, total: int) -> None:
        """Say how many entries are written, and hold on. Raises ClaimLost."""
        self.change(done=done, total=total)

    def change(self, **values: object) -> None:
        """Change the row, if it is ours, and hold on to it. Raises ClaimLost."""
        row = self._row
        mine = LedgerExport.objects.filter(
            pk=row.pk, state=ExportState.RUNNING, attempts=row.attempts
        )
        if mine.update(claimed_until=self.clock() + CLAIM, **values) != 1:
            raise ClaimLost(export=str(row.pk))


def _make_or_give_up(row: LedgerExport, claim: _Claim, folder: Path) -> None:
    """Make it; a disk that fails in the last attempt is the export's end. Raises OSError before."""
    try:
        _make(row, claim, folder)
    except OSError as problem:
        if row.attempts < MOST_ATTEMPTS:
            raise
        raise ExportNotWritten(export=str(row.pk), attempts=MOST_ATTEMPTS) from problem


def _make(row: LedgerExport, claim: _Claim, folder: Path) -> None:
    if row.attempts > MOST_ATTEMPTS:
        raise ExportAbandoned(export=str(row.pk), attempts=MOST_ATTEMPTS)
    by = msgspec.structs.replace(principal_named("member", row.requester), means=row.means)
    by.require(*READERS)
    selection = msgspec.convert(row.filter, Selection)
    exported = bundles.export(
        folder / "bundle",
        now=claim.clock(),
        selection=selection,
        with_bodies=row.with_bodies,
        progress=claim.progressed,
    )
    packed = folder / "packed"
    facts = _pack(folder / "bundle", packed, claim)
    with transaction.atomic():
        _become_ready(claim, exported, facts)
        packed.replace(export_folders.place(row.pk))
        durable_files.flush_folder(export_folders.folder())
        ledgers.record_export(exported, by=by, selection=selection, with_bodies=row.with_bodies)


def _pack(folder: Path, target: Path, claim: _Claim) -> dict[str, int | str]:
    """Pack the bundle, durably; how long the file is, and its digest."""
    with os.fdopen(os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b") as file:
        archives.pack(folder, file, tell=claim.keep)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
        file.seek(0)
        return {"bytes": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _become_ready(claim: _Claim, exported: Exported, facts: dict[str, int | str]) -> None:
    claim.change(
        state=ExportState.READY,
        size=exported.size,
        root=exported.root,
        selected=exported.selected,
        ended_at=claim.clock(),
        **facts,
    )


def remove_old(now: datetime) -> None:
    """Remove the acting tenant's exports whose day is over, and files that no row knows."""
    remove(before=now - LIFE)


def remove(*, before: datetime) -> int:
    """Remove the acting tenant's exports that were asked for before then; how many there were.

    The rows go first: a file without its row can not be fetched, and is removed here too. Raises
    OSError where a file can not be removed.
    """
    found = export_folders.files()
    with transaction.atomic():
        removed, _ = LedgerExport.objects.filter(created_at__lt=before).delete()
    known = {str(pk) for pk in LedgerExport.objects.values_list("pk", flat=True)}
    for path in found:
        if export_folders.export_in(path) not in known:
            export_folders.remove(path)
    return removed


def prune() -> int:
    """Take back the exports that may hold private parts which retention has destroyed since: the
    row says so, and its file is removed. How many there were. Raises OSError.

    Whoever makes one finds the claim lost. Calling again makes good what was broken off.
    """
    applied = queries.entries(kind=RetentionApplied.kind).first()
    if applied is None:
        return 0
    pruned = LedgerExport.objects.filter(with_bodies=True, created_at__lt=applied.recorded_at)
    made = pruned.filter(state__in=(ExportState.READY, ExportState.RUNNING))
    count = made.update(state=ExportState.PRUNED)
    gone = {str(pk) for pk in pruned.filter(state=ExportState.PRUNED).values_list("pk", flat=True)}
    for path in export_folders.files():
        if export_folders.export_in(path) in gone:
            export_folders.remove(path)
    return count
