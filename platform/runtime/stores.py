"""The only place that says where a person's words are kept beside the ledger, and takes them away.

Each store answers with its receipt: how much it gave up. A store of a higher floor is added when
the application is composed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db.models import Q

from audit import subjects
from audit.events import Actor
from governance import erasing as approvals
from retrieval import documents
from runtime import exports, saved_views
from runtime.models import Run, Step, StepState
from runtime.persons import Person
from tenants import members

ERASED = "[erased]"
ROWS_A_STATEMENT = 500


class Erasing(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to erase, and by whose order. `runs` are theirs."""

    person: Person
    runs: list[UUID]
    actor: Actor
    now: datetime

    @property
    def words(self) -> set[str]:
        """What tells that a text is about them: their names, and the ids of their runs."""
        return {*self.person.labels, *map(str, self.runs)}


Store = Callable[[Erasing], int]


def find(person: Person, *, actor: Actor, now: datetime) -> Erasing:
    """The person and their runs, which are locked."""
    rows = Run.objects.select_for_update().filter(person.runs).order_by("pk")
    runs = list(rows.values_list("pk", flat=True))
    return Erasing(person=person, runs=runs, actor=actor, now=now)


def is_active(erasing: Erasing) -> bool:
    """Whether a run is unfinished, an effect has no outcome yet, or an approval is open."""
    unfinished = Run.objects.filter(pk__in=erasing.runs, ended_at=None)
    begun = Step.objects.filter(run__in=erasing.runs, state=StepState.BEGUN)
    open_ = any(approvals.are_open(which) for which in _approvals(erasing))
    return open_ or unfinished.exists() or begun.exists()


def empty(erasing: Erasing) -> dict[str, int]:
    """Empty all stores, in the caller's transaction; their receipts."""
    return {name: store(erasing) for name, store in _stores.items()}


def add(name: str, store: Store) -> None:
    """Let `store` be emptied too."""
    _stores[name] = store


def _runs(erasing: Erasing) -> int:
    for run in _chunks(erasing.runs):
        rows = list(Run.objects.filter(pk__in=run))
        for row in rows:
            row.task, row.answer = ERASED, None
            row.failure = row.failure and {"code": row.failure["code"], "message": ERASED}
        Run.objects.bulk_update(rows, ["task", "answer", "failure"])
    for name in erasing.person.names:
        if name.startswith("person:"):
            _pseudonymise(name)
    return len(erasing.runs)


def _pseudonymise(name: str) -> None:
    """Put the ledger's pseudonym for the name in their runs."""
    ids = subjects.ids_of([name])
    runs = Run.objects.filter(on_behalf_of=name.partition(":")[2])
    runs.update(on_behalf_of=str(ids[0]) if ids else ERASED)


def _steps(erasing: Erasing) -> int:
    ids = list(Step.objects.filter(run__in=erasing.runs).values_list("pk", flat=True))
    for chunk in _chunks(ids):
        rows = list(Step.objects.filter(pk__in=chunk))
        for row in rows:
            row.intent, row.digest = approvals.emptied(row.intent), ""
            row.turn, row.reasons = None, []
            row.usage = {name: used for name, used in row.usage.items() if name != "problem"}
        Step.objects.bulk_update(rows, ["intent", "digest", "turn", "reasons", "usage"])
    return len(ids)


def _chunks(ids: list[UUID]) -> Iterator[list[UUID]]:
    for start in range(0, len(ids), ROWS_A_STATEMENT):
        yield ids[start : start + ROWS_A_STATEMENT]


def _votes(erasing: Erasing) -> int:
    return sum(approvals.empty(which) for which in _approvals(erasing))


def _approvals(erasing: Erasing) -> Iterator[Q]:
    for name in erasing.person.names:
        yield approvals.approvals_of(runs=erasing.runs, person=name)


def _documents(erasing: Erasing) -> int:
    names = {*erasing.person.names, *erasing.person.labels}
    return len(documents.erase_of(names, actor=erasing.actor))


def _exports(erasing: Erasing) -> int:
    """All of them: a bundle can not be rewritten, and a day later they would be gone anyway."""
    return exports.remove(before=erasing.now + timedelta(days=1))


def _saved_views(erasing: Erasing) -> int:
    """Theirs, and whatever others look for them with."""
    return saved_views.erase_of(erasing.words)


def _members(erasing: Erasing) -> int:
    """The name and address of a member who was removed. Who is a member has them still."""
    member = erasing.person.member
    if member is None or not members.forget(UUID(member), name=ERASED):
        return 0
    approvals.forget_voter(member, ERASED)
    return 1


_stores: dict[str, Store] = {
    "runs": _runs,
    "steps": _steps,
    "approvals": _votes,
    "documents": _documents,
    "exports": _exports,
    "saved_views": _saved_views,
    "members": _members,
}
