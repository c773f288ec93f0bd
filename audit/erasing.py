"""The only place that erases a person from the ledger: their keys and bodies, never a proof.

Recording `subject.erased` is what destroys (audit.triggers): nobody may delete a body or a key, so
none can be gone without its entry, or go against a legal hold, whatever this module does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from audit import holds, ledger, queries, subjects
from audit.events import Actor, SubjectErased
from audit.models import Body

BODIES = "ledger_bodies"


class Erased(msgspec.Struct, frozen=True):
    """What was destroyed: the entry that says so, and how much each store gave up."""

    entry: UUID
    subjects: list[UUID]
    receipts: dict[str, int]


def erase(
    people: Iterable[str],
    *,
    legal_basis: str,
    approvers: Sequence[str],
    actor: Actor,
    receipts: Mapping[str, int],
) -> Erased:
    """Destroy the keys and bodies of `people` (names as in audit.subjects, of one person).

    In the caller's transaction, last in it: what is recorded afterwards about them is kept under a
    new key. `receipts` are of the other stores. Raises holds.UnderHold, NotInTransaction, NoLedger.
    """
    ids = subjects.ids_of(people)
    holds.check(ids)
    given = {
        **receipts,
        BODIES: Body.objects.filter(log=queries.own_log(), subject__in=ids).count(),
    }
    event = SubjectErased(
        subjects=[str(each) for each in ids],
        legal_basis=legal_basis,
        approvers=list(approvers),
        receipts=given,
    )
    return Erased(ledger.record(event, actor=actor), ids, given)
