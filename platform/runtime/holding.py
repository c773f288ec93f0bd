"""The only place where legal holds are placed and released on somebody's behalf."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import QuerySet

from audit import holds
from audit.errors import Problem
from runtime import persons
from runtime.erasing import KEEPERS
from tenants.principals import Principal

if TYPE_CHECKING:
    from audit.models import Hold

LONGEST_REASON = 2_000


class HoldReasonInvalid(Problem):
    """A legal hold needs a reason of 1 to 2,000 characters, and so does its release."""

    code = "hold_reason_invalid"
    status = 422


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A hold and what is private of it: `person` is None where all of the ledger is held."""

    id: UUID
    is_on_everything: bool
    person: str | None
    reason: str | None
    created_at: datetime
    released_at: datetime | None


def place(person: str | None, *, reason: str, by: Principal) -> Hold:
    """Hold a person, as in `persons.named`, or the whole ledger. Raises NotPermitted,
    PersonInvalid, HoldReasonInvalid.
    """
    by.require(*KEEPERS)
    names = persons.named(person).names if person is not None else ()
    with transaction.atomic():
        made = holds.place(names, reason=_checked(reason), actor=by.actor)
    return holds.access(made)


def release(hold: Hold, *, reason: str, by: Principal) -> Hold:
    """End a hold. Raises NotPermitted, HoldReasonInvalid, HoldEnded."""
    by.require(*KEEPERS)
    with transaction.atomic():
        holds.release(hold, reason=_checked(reason), actor=by.actor)
    return holds.access(hold.pk)


def every(*, principal: Principal) -> QuerySet[Hold]:
    """The tenant's holds, newest first. Raises NotPermitted."""
    principal.require(*KEEPERS)
    return holds.every()


def access(hold: UUID, *, principal: Principal) -> Hold:
    """The hold. Raises HoldUnknown, NotPermitted."""
    principal.require(*KEEPERS)
    return holds.access(hold)


def told(found: Sequence[Hold]) -> list[Told]:
    """The holds with what is private of them, as far as it was not erased."""
    return [
        Told(
            id=hold.pk,
            is_on_everything=hold.subjects is None,
            person=person,
            reason=reason,
            created_at=hold.created_at,
            released_at=hold.released_at,
        )
        for hold, (person, reason) in zip(found, holds.told(found), strict=True)
    ]


def _checked(reason: str) -> str:
    if not 0 < len(reason.strip()) <= LONGEST_REASON or "\0" in reason:
        raise HoldReasonInvalid
    return reason.strip()
