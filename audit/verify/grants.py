"""The only place that follows grants: what lets an agent use a tool, route or collection at all.

A decision names the grant by its id. A grant that was taken back while a decision was under way may
still be named by it; one that was taken back before the decision began may not.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from audit.verify.headers import Header, time_between
from audit.verify.report import Findings

LONGEST_TRANSACTION = timedelta(minutes=1)
"""When a revocation is recorded it may take so long until a decision sees it."""


class Grant(NamedTuple):
    """What was granted: the agent, the kind of the resource and its slug."""

    agent: str
    kind: str
    resource: str


class Grants:
    """All grants so far, by id, and when they were taken back."""

    def __init__(self, findings: Findings, *, is_pruned: bool) -> None:
        self._findings = findings
        self._is_pruned = is_pruned
        self._given: dict[str, Grant] = {}
        self._revoked_at: dict[str, bytes] = {}

    def given(self, header: Header) -> None:
        """`grant.given`."""
        event = header.event
        self._given[str(event.get("grant"))] = Grant(
            str(event.get("agent")), str(event.get("resource_kind")), str(event.get("resource"))
        )

    def revoked(self, header: Header) -> None:
        """`grant.revoked`."""
        self._revoked_at[str(header.event.get("grant"))] = header.recorded_at

    def check(self, header: Header) -> None:
        """Whether an agent's `intent.decided` that denies nothing rests on a grant in force."""
        event = header.event
        if header.actor["kind"] != "agent" or event.get("outcome") == "denied":
            return
        id_ = str(event.get("grant"))
        grant, revoked_at = self._given.get(id_), self._revoked_at.get(id_)
        asked = (header.actor["id"], event.get("resource_kind"), event.get("resource"))
        if grant is None:
            if not self._is_pruned or event.get("grant") is None:
                what = f"rests on the grant {id_!r}, which was not given before"
                self._findings.about("grant_unknown", header, what)
        elif grant != asked:
            what = f"rests on the grant {id_!r}, which is for something else"
            self._findings.about("grant_of_another", header, what)
        elif revoked_at and time_between(revoked_at, header.occurred_at) > LONGEST_TRANSACTION:
            what = f"rests on the grant {id_!r}, which had been taken back"
            self._findings.about("grant_revoked", header, what)
