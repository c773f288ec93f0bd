"""The only place that says who asks: a member, a client app or an agent. No Django."""

from __future__ import annotations

from typing import Literal

import msgspec

from audit.errors import Problem
from audit.events import Actor, Means

PrincipalKind = Literal["member", "agent", "client_app"]


class NotPermitted(Problem):
    """This needs the role {roles}."""

    code = "not_permitted"
    status = 403


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asks, within one tenant. `id`: a user's id, an agent's slug or a key's public id.

    `means` says how they proved it: for the ledger, and for nobody's judgement.
    """

    kind: PrincipalKind
    id: str
    name: str
    tenant: str
    roles: frozenset[str] = frozenset()
    means: Means | None = None

    @property
    def actor(self) -> Actor:
        """This principal as the ledger names it."""
        return Actor(kind=self.kind, id=self.id, means=self.means)

    def has(self, *roles: str) -> bool:
        """Whether the principal has one of `roles`."""
        return not self.roles.isdisjoint(roles)

    def require(self, *roles: str) -> None:
        """Raise NotPermitted unless the principal has one of `roles`."""
        if not self.has(*roles):
            raise NotPermitted(roles=" or ".join(roles))
