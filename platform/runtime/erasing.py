"""The only place that erases a person: one member asks, another approves, and every store obeys.

Holds, proofs and headers stay. What was erased is told by its entry alone, in pseudonyms: a settled
request names nobody any more.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit import erasing as audit_erasing
from audit import holds, ledger, subjects
from audit.errors import Problem
from runtime import persons, stores
from runtime.events import ErasureRejected, ErasureRequested
from runtime.models import ErasureRequest, ErasureState
from runtime.persons import Person
from tenants import configuration
from tenants.principals import Principal

KEEPERS = ("admin", "auditor")
LONGEST_BASIS = 200


class ErasureUnknown(Problem):
    """There is no erasure {erasure}."""

    code = "erasure_unknown"
    status = 404


class ErasureSettled(Problem):
    """The erasure {erasure} is settled already: it is {state}."""

    code = "erasure_settled"
    status = 409


class SecondPersonNeeded(Problem):
    """Whoever asked for an erasure can't approve it: that takes another admin or auditor."""

    code = "second_person_needed"
    status = 403


class OwnErasure(Problem):
    """Nobody takes part in erasing themself."""

    code = "own_erasure"
    status = 403


class SubjectActive(Problem):
    """The person has an unfinished run, or an approval that waits. It has to end first."""

    code = "subject_active"
    status = 409


class LegalBasisInvalid(Problem):
    """The legal basis can't be recorded: {reason}."""

    code = "legal_basis_invalid"
    status = 422


def request(person: str, *, legal_basis: str, by: Principal, now: datetime) -> ErasureRequest:
    """Ask to erase `person`, as in `persons.named`; nothing is erased yet.

    Raises NotPermitted, PersonInvalid, LegalBasisInvalid, OwnErasure, UnderHold.
    """
    by.require(*KEEPERS)
    wanted = persons.named(person)
    _refuse_own(wanted, by)
    legal_basis = _checked_basis(legal_basis, wanted)
    holds.check(subjects.ids_of(wanted.names))
    name = wanted.names[0]
    with transaction.atomic():
        row = ErasureRequest.objects.create(
            person=name, legal_basis=legal_basis, requester=by.id, created_at=now
        )
        event = ErasureRequested(request=str(row.pk), person=name, legal_basis=legal_basis)
        ledger.record(event, actor=by.actor, person=name)
    return row


def approve(erasure: ErasureRequest, *, by: Principal, now: datetime) -> ErasureRequest:
    """Erase the person, in one commit: every store gives up what it has, the ledger last.

    Raises NotPermitted, ErasureSettled, SecondPersonNeeded, OwnErasure, SubjectActive, UnderHold.
    """
    by.require(*KEEPERS)
    with transaction.atomic():
        row = _locked(erasure)
        person = persons.named(row.person)
        if by.id == row.requester:
            raise SecondPersonNeeded
        _refuse_own(person, by)
        holds.check(subjects.ids_of(person.names))
        _erase(row, person, by=by, now=now)
    return row


def _erase(row: ErasureRequest, person: Person, *, by: Principal, now: datetime) -> None:
    wanted = stores.find(person, actor=by.actor, now=now)
    if stores.is_active(wanted):
        raise SubjectActive
    receipts = stores.empty(wanted)
    # The data plane's snapshot holds keys of subjects: it is replaced.
    configuration.touch()
    erased = audit_erasing.erase(
        person.names,
        legal_basis=row.legal_basis,
        approvers=[row.requester, by.id],
        actor=by.actor,
        receipts=receipts,
    )
    row.entry, row.receipts = erased.entry, erased.receipts
    _settle(row, ErasureState.DONE, by=by, now=now)
    same = ErasureRequest.objects.filter(person__in=person.names, state=ErasureState.REQUESTED)
    for other in same:
        other.entry = erased.entry
        _settle(other, ErasureState.DONE, by=by, now=now)


def reject(erasure: ErasureRequest, *, by: Principal, now: datetime) -> ErasureRequest:
    """Reject the request, or withdraw it. Raises NotPermitted, ErasureSettled."""
    by.require(*KEEPERS)
    with transaction.atomic():
        row = _locked(erasure)
        ledger.record(ErasureRejected(request=str(row.pk)), actor=by.actor)
        _settle(row, ErasureState.REJECTED, by=by, now=now)
    return row


def requests(*, principal: Principal) -> QuerySet[ErasureRequest]:
    """Erasures and requests for them, newest first. Raises NotPermitted."""
    principal.require(*KEEPERS)
    return ErasureRequest.objects.order_by("-id")


def access(erasure: UUID, *, principal: Principal) -> ErasureRequest:
    """The erasure. Raises ErasureUnknown, NotPermitted."""
    row = requests(principal=principal).filter(pk=erasure).first()
    if row is None:
        raise ErasureUnknown(erasure=str(erasure))
    return row


def _locked(erasure: ErasureRequest) -> ErasureRequest:
    row = ErasureRequest.objects.select_for_update().get(pk=erasure.pk)
    if row.state != ErasureState.REQUESTED:
        raise ErasureSettled(erasure=str(row.pk), state=row.state)
    return row


def _settle(row: ErasureRequest, state: ErasureState, *, by: Principal, now: datetime) -> None:
    row.state, row.person, row.settled_by, row.settled_at = state, "", by.id, now
    row.save()


def _refuse_own(person: Person, by: Principal) -> None:
    if by.id == person.member:
        raise OwnErasure


def _checked_basis(text: str, person: Person) -> str:
    """It stays in the ledger for ever, so it may not name the person."""
    text = text.strip()
    if not text.isprintable() or not 0 < len(text) <= LONGEST_BASIS:
        raise LegalBasisInvalid(reason=f"it is 1 to {LONGEST_BASIS} characters of text")
    if any(label.casefold() in text.casefold() for label in person.labels):
        raise LegalBasisInvalid(reason="it names the person, and it is never erased")
    return text
