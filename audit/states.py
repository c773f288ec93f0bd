"""The only place for how far an entry is: recorded, sealed, published, cosigned. No Django.

Each state holds the ones before it, and nothing goes back. An entry that there is not counts as
recorded and no more, so nobody ever finds it sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args
from uuid import UUID

from audit.errors import Problem

State = Literal["recorded", "sealed", "published", "cosigned"]
STATES: tuple[State, ...] = get_args(State)

# The least of the entries' states, as a place in STATES; for the role whose log it is.
HOW_FAR = """
SELECT coalesce(min(CASE
    WHEN leaf.index IS NULL THEN 0
    WHEN leaf.index < (SELECT max(size) FROM audit.cosignature
        WHERE log_id = leaf.log_id AND verifier_key = ANY(%(witnesses)s)) THEN 3
    WHEN leaf.index < (SELECT max(size) FROM audit.checkpoint
        WHERE log_id = leaf.log_id) THEN 2
    ELSE 1 END), 0)
FROM unnest(%(entries)s::uuid[]) AS asked (id)
LEFT JOIN audit.leaf ON leaf.entry_id = asked.id
    AND leaf.log_id = (SELECT id FROM audit.log WHERE role_name = current_user)
"""


class LedgerBehind(Problem):
    """Nothing was done: its entries were to be {awaits} within {seconds} seconds, and are not."""

    code = "ledger_behind"
    status = 503


def asked(entries: Sequence[UUID], witnesses: Sequence[str]) -> dict[str, Any]:
    """The parameters of HOW_FAR: whose verifier keys count as a witness's."""
    return {"entries": list(entries), "witnesses": list(witnesses)}


def reaches(state: State, wanted: State) -> bool:
    """Whether what is in `state` is at least as far as `wanted`."""
    return STATES.index(state) >= STATES.index(wanted)


def furthest(states: Sequence[State]) -> State:
    """The one of `states` that is hardest to reach; "recorded" where there is none."""
    return max(states, key=STATES.index, default="recorded")
