"""The only place that compares a tenant's rows with its ledger, and records what came of it."""

from __future__ import annotations

import logging
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.db import transaction

from audit import ledger, reconciling
from audit.events import SYSTEM
from audit.reconciling import Compared
from gateway import pairs as gateway
from governance import pairs as governance
from retrieval import pairs as retrieval
from runtime import pairs as runtime
from runtime import unsettled
from runtime.events import LedgerReconciled
from tenants import isolation
from tenants import pairs as tenants

PAIRS = (*tenants.PAIRS, *governance.PAIRS, *gateway.PAIRS, *retrieval.PAIRS, *runtime.PAIRS)
MOST_NAMED = 100

logger = logging.getLogger(__name__)


def reconcile(now: datetime) -> UUID:
    """Compare all of `PAIRS` in the acting tenant and record the result; the entry's id.

    First everything is settled that never got an outcome: later looks begin here. MUST NOT be
    called in a transaction. Raises NoLedger.
    """
    while unsettled.tell(now) >= unsettled.MOST:
        continue
    found = [reconciling.compare(pair) for pair in PAIRS]
    differing = sum(each.differing for each in found)
    event = LedgerReconciled(
        compared={each.name: each.rows for each in found},
        differing=differing,
        differences=list(islice((name for each in found for name in _named(each)), MOST_NAMED)),
    )
    with transaction.atomic():
        entry = ledger.record(event, actor=SYSTEM)
    if differing:
        slug = isolation.current().slug
        logger.critical(
            "%s rows of %s and their entries differ; the entry %s names them.",
            differing,
            slug,
            entry,
        )
    return entry


def _named(each: Compared) -> list[dict[str, str]]:
    return [
        *({"what": each.name, "row": key} for key in each.row_keys),
        *({"what": each.name, "entry": key} for key in each.entry_keys),
    ]
