"""The only place that halts the acting tenant's ledger within a test, and counts its halts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db import connection

from audit import outside, queries, recoveries, roles
from audit.checkpoints import Checkpoint
from tenants import isolation

REASON = "The witness witness.test/carol holds a checkpoint which this ledger does not have."


def halt(*, signed_size: int = 1_000_000) -> UUID:
    """The id of the halt; the caller's tenant goes on acting."""
    log = queries.own_log()
    seen = Checkpoint(log.origin, signed_size, b"r" * 32)
    with as_sequencer() as cursor:
        assert recoveries.halt(cursor, log.pk, seen, REASON)
    return outside.halts()[-1].id


@contextlib.contextmanager
def as_sequencer() -> Iterator[Any]:
    """Django's connection acts as the sequencer, within the test's transaction."""
    role = roles.sequencer_of(connection.settings_dict["NAME"])
    with isolation.outside_tenants(), connection.cursor() as cursor, roles.acting_as(cursor, role):
        yield cursor
