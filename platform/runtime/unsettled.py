"""The only place that says of an effect which never got an outcome that nobody knows of one.

A process that was killed between the beginning and the end of a call through `/v1`, a search or an
embedding leaves no row that anybody would take up: all there is, is its entry. A run's step is
taken up again by whoever gets its lease; where that takes too long, its last try is unknown as
well, and the step is left to be taken up.

An outcome that comes later still is recorded after it, and counts; so does one that is on its way
at the same moment and lands before. The verifier accepts both.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction

from audit import ledger, unsettled
from audit.events import SYSTEM
from audit.unsettled import PATIENCE, Begun
from runtime.events import EffectUnknown
from runtime.models import Run

CODE = "no_outcome"
MOST = 500

logger = logging.getLogger(__name__)


def tell(now: datetime, *, patience: timedelta = PATIENCE) -> int:
    """Record as unknown what was begun longer than `patience` ago; how many there were.

    MUST NOT be called in a transaction. Again, it finds nothing. Raises NoLedger.
    """
    told = sum(_tell(begun, now) for begun in unsettled.found(patience=patience, most=MOST))
    if told:
        logger.error(
            "%s effects were begun and never ended: they are recorded as unknown (%s).", told, CODE
        )
    return told


@transaction.atomic
def _tell(begun: Begun, now: datetime) -> bool:
    # A run counts its entries when it is closed, under this lock.
    run = Run.objects.select_for_update().filter(pk=begun.correlation).first()
    if run is not None and run.lease_until is not None and run.lease_until >= now:
        return False
    if not unsettled.is_still(begun):
        return False
    event = EffectUnknown(
        intent=begun.intent,
        action=begun.action,
        resource=begun.resource,
        step=begun.step,
        decision=begun.decision,
        code=CODE,
    )
    ledger.record(event, actor=SYSTEM, correlation=begun.correlation)
    return True
