"""The only place for the page that says how the ledger is: sealed, vouched for, halted, held."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit import holds, outside, queries
from audit.outside import Voucher
from audit.recoveries import RecoveryApprovedAlready
from audit.verify import layout
from console import names, pages
from console.entrance import enters
from console.pages import MemberRequest
from runtime import erasing, ledgers, retaining
from runtime.models import ErasureState

HOLDS_SHOWN = 5
LATE = timedelta(minutes=1)
"""A sequencer that runs seals within a second."""

KINDS = {
    "cosignature": (
        "Witness",
        "It checked that the ledger only grew since it last looked, and signed that.",
    ),
    "timestamp": (
        "Timestamping authority",
        "It proves that the checkpoint existed at that moment (RFC 3161).",
    ),
    "sink": (
        "Checkpoint sink",
        "It keeps checkpoints where this product can't change them.",
    ),
}
"""Who vouches for a checkpoint, and what that means."""


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who vouches, for a table; `behind` counts the entries that they have not seen."""

    title: str
    name: str
    meaning: str
    size: int
    behind: int
    since: datetime


@enters("ledger")
def status(request: MemberRequest) -> HttpResponse:
    """How far sealing is, who else vouches, what is halted, held and erased, in plain words."""
    return pages.show(request, "ledger/status", _context(request, timezone.now()))


def _context(request: MemberRequest, now: datetime) -> dict[str, Any]:
    by, found, waiting = request.principal, queries.status(), queries.waiting_since()
    requests, standing = erasing.requests(principal=by), holds.standing()
    vouched = [_vouched(each, found.size) for each in outside.vouchers()]
    return {
        "status": found,
        "root": layout.root_in(found.checkpoint.note) if found.checkpoint else "",
        "waiting": waiting,
        "is_late": waiting is not None and now - waiting > LATE,
        "lag": queries.sealing_lag(),
        "vouched": vouched,
        "farthest": max(vouched, key=lambda each: each.size, default=None),
        "halts": ledgers.halts(principal=by),
        "reconciled": ledgers.reconciled(principal=by),
        "holds": standing[:HOLDS_SHOWN],
        "hold_count": standing.count(),
        "asked_count": requests.filter(state=ErasureState.REQUESTED).count(),
        "erased_count": requests.filter(state=ErasureState.DONE).count(),
        "last_erasure": requests.filter(state=ErasureState.DONE).first(),
        "rules": retaining.rules(principal=by),
        "names": names.known(),
    }


def _vouched(each: Voucher, size: int) -> Vouched:
    title, meaning = KINDS.get(each.kind, (each.kind, ""))
    return Vouched(
        title=title,
        name=each.name.partition("+")[0],
        meaning=meaning,
        size=each.size,
        behind=max(size - each.size, 0),
        since=each.since,
    )


@enters("ledger")
@require_POST
def approve_recovery(request: MemberRequest, halt: UUID) -> HttpResponse:
    """Let a halted ledger go on without what it lost; it takes two people."""
    try:
        missing = ledgers.approve_recovery(halt, by=request.principal)
    except RecoveryApprovedAlready as problem:
        messages.error(request, str(problem))
        return redirect("console:ledger_status")
    rest = "The ledger goes on." if missing == 0 else "One more person has to approve it."
    messages.success(request, f"You approved the recovery. {rest}")
    return redirect("console:ledger_status")
