"""The only place that empties approvals: the frozen intents, evidence and reasons of a person."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Q

from governance.models import OPEN_STATES, Approval, Vote


def approvals_of(*, runs: Collection[UUID], person: str) -> Q:
    """Which approvals are about `person` (a name as in audit.subjects), or belong to `runs`."""
    kind, _, name = person.partition(":")
    alone = Q(run=None, intent__on_behalf_of=name)
    if kind != "person":
        alone |= Q(
            run=None,
            intent__on_behalf_of=None,
            intent__principal_kind=kind,
            intent__principal=name,
        )
    return Q(run__in=runs) | alone


def are_open(which: Q) -> bool:
    """Whether one of them may still be voted on or used."""
    return Approval.objects.filter(which, state__in=OPEN_STATES).exists()


def empty(which: Q) -> int:
    """Empty approvals and the reasons of their votes, in the caller's transaction; how many.

    Their digests go as well: a hash of words that somebody can guess is no secret.
    """
    found = list(Approval.objects.select_for_update().filter(which))
    for approval in found:
        approval.intent = emptied(approval.intent)
        approval.digest = ""
        approval.evidence = []
        approval.reasons = []
        approval.excluded = []
    Approval.objects.bulk_update(found, ["intent", "digest", "evidence", "reasons", "excluded"])
    Vote.objects.filter(approval__in=found).update(reason="")
    return len(found)


def emptied(intent: dict[str, Any]) -> dict[str, Any]:
    """A frozen intent without its arguments, and without whom it was for."""
    return {**intent, "arguments": {}, "on_behalf_of": None}


def forget_voter(member: str, name: str) -> int:
    """Put `name` for a member's own in the votes that they cast; how many."""
    return Vote.objects.filter(member=member).exclude(member_name=name).update(member_name=name)
