"""The only place that lists the entry kinds of tenants, members and keys."""

from __future__ import annotations

from audit.events import Event, Private


class TenantCreated(Event, kind="tenant.created"):
    """A tenant came into being, with its schema, role and ledger."""

    tenant: str
    name: Private[str]


class MemberAdded(Event, kind="member.added"):
    """A user became a member, with these roles."""

    member: str
    roles: list[str]


class MemberChanged(Event, kind="member.changed"):
    """A member's roles changed."""

    member: str
    roles_before: list[str]
    roles: list[str]


class MemberRemoved(Event, kind="member.removed"):
    """A user is no longer a member; their sessions and tokens never work again."""

    member: str


class MemberSignedIn(Event, kind="member.signed_in"):
    """A member proved who they are, in the console or for a token."""

    member: str
    way: str


class KeyIssued(Event, kind="key.issued"):
    """A service key or a member token was made."""

    key: str
    key_kind: str
    name: Private[str]


class KeyRevoked(Event, kind="key.revoked"):
    """A key stopped working."""

    key: str
    key_kind: str
