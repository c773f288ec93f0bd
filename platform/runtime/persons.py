"""The only place that says which person is meant by a name, and which runs are theirs."""

from __future__ import annotations

import msgspec
from django.db.models import Q

from audit.errors import Problem
from audit.events import person_of
from tenants import members

KINDS = ("member", "client_app", "person")
LONGEST = 200


class PersonInvalid(Problem):
    """A person is named by 1 to 200 bytes of text: a member's address or id, or a name."""

    code = "person_invalid"
    status = 422


class Person(msgspec.Struct, frozen=True):
    """Somebody, by all names that the ledger may know them by (see audit.subjects)."""

    names: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names without their kinds: an id, an address, a name."""
        return tuple(name.partition(":")[2] for name in self.names)

    @property
    def member(self) -> str | None:
        """Their id as a member, also of one who was removed; None for others."""
        kind, _, label = self.names[0].partition(":")
        return label if kind == "member" else None

    @property
    def runs(self) -> Q:
        """Which runs are theirs: asked for by them, or on their behalf."""
        which = Q(on_behalf_of__in=self.labels)
        for name in self.names:
            kind, _, label = name.partition(":")
            which |= Q(on_behalf_of=None, requester_kind=kind, requester=label)
        return which


def named(text: str) -> Person:
    """Who is meant: by a member's address or id, a service key's id, or a name that something is
    done for; also as in audit.subjects ("person:Erika"). Raises PersonInvalid.
    """
    text = text.strip()
    if not text.isprintable() or not 0 < len(text.encode()) <= LONGEST:
        raise PersonInvalid
    kind, _, label = text.partition(":")
    known = text if kind in KINDS and label else None
    if known is None:
        member = members.id_of(text)
        known = f"member:{member}" if member else person_of(text)
    return Person((known, *_address(known)))


def _address(name: str) -> tuple[str, ...]:
    """What a member may have been called before they were one: their address."""
    kind, _, label = name.partition(":")
    address = members.address_of(label) if kind == "member" and person_of(label) == name else None
    return (f"person:{address}",) if address else ()
