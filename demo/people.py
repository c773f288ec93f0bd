"""The only place for who is in the demo, and for the file that keeps their sign-in data."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import msgspec

DOMAIN = "example"


class Person(msgspec.Struct):
    """A member: the first part of their address, what they do here, and their roles."""

    name: str
    does: str
    roles: list[str]


CAST: dict[str, list[Person]] = {
    "acme": [
        Person("Alice", "admin", ["admin"]),
        Person("Bob", "reviewer", ["reviewer"]),
        Person("Carol", "compliance officer", ["auditor"]),
        Person("Dave", "author of the agent", ["builder", "reviewer"]),
    ],
    "globex": [
        Person("Mallory", "admin", ["admin"]),
        Person("Grace", "reviewer", ["reviewer"]),
        Person("Heidi", "compliance officer", ["auditor"]),
    ],
}
"""The first of each tenant is its first admin."""


class Kept(msgspec.Struct):
    """A tenant's generated secrets: passwords by name, and the service key of its client app."""

    passwords: dict[str, str] = {}
    key: str = ""


class SignInData:
    """What was generated for the demo, in one file that only its owner may read (mode 0600)."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tenants: dict[str, Kept] = {}
        if file.exists():
            self.tenants = msgspec.json.decode(file.read_bytes(), type=dict[str, Kept])

    def of(self, tenant: str) -> Kept:
        """The tenant's secrets so far."""
        return self.tenants.setdefault(tenant, Kept())

    def password(self, tenant: str, name: str) -> str:
        """The member's password; generated, and kept before anybody uses it, if there is none."""
        known = self.of(tenant).passwords
        if name not in known:
            known[name] = secrets.token_urlsafe(15)
            self.save()
        return known[name]

    def save(self) -> None:
        """Write the file whole, or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(msgspec.to_builtins(self.tenants), file, indent=2)
        fresh.replace(self.file)


def address(tenant: str, name: str) -> str:
    """A member's e-mail address; `.example` belongs to nobody (RFC 2606)."""
    return f"{name.lower()}@{tenant}.{DOMAIN}"
