"""The only place for how the console's tests visit it: a signed-in client on a tenant's host."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
from builders import Desk
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from django.test import Client

from audit import sequencer
from runtime.models import Run
from tenants import isolation
from tenants.models import Tenant, User
from tenants.principals import Principal

BACKEND = "tenants.signing_in.MemberBackend"
EVERYBODY = ("alice", "bob", "carol", "dave", "vera")


class Visitor:
    """Somebody with a browser on one host; the test's own tenant is kept around each request."""

    def __init__(self, tenant: Tenant, member: Principal | None = None, **options: Any) -> None:
        self.tenant = tenant
        self.client = Client(HTTP_HOST=f"{tenant.slug}.localhost", **options)
        if member is not None:
            with isolation.acting_for(tenant):
                self.client.force_login(User.objects.get(pk=member.id), backend=BACKEND)

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Any:
        """The answer to a GET; `headers` as keywords."""
        address = f"{path}?{urlencode(query)}" if query else path
        return self._kept(lambda: self.client.get(address, headers=headers))

    def post(self, path: str, data: dict[str, Any] | None = None, **headers: str) -> Any:
        """The answer to a form."""
        return self._kept(lambda: self.client.post(path, data or {}, headers=headers))

    def words(self, path: str, query: dict[str, Any] | None = None) -> str:
        """The page as text, which must be there."""
        answer = self.get(path, query)
        assert answer.status_code == 200, (path, answer.status_code)
        return str(answer.content.decode())

    def _kept(self, ask: Any) -> Any:
        before = connection.tenant
        try:
            return ask()
        finally:
            connection.set_tenant(before)


class House(msgspec.Struct, frozen=True, kw_only=True):
    """acme with everything in it: documents, agents, a held run and a completed one."""

    desk: Desk
    people: dict[str, Visitor]
    held: Run
    completed: Run
    approval: str
    document: str
    passage: str
    entry: str
    member: str
    key: str

    def __getattr__(self, name: str) -> Visitor:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None


def seal() -> None:
    """Seal and publish all that was recorded so far, on the test's own connection."""
    with isolation.outside_tenants(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        sequencer.run_once(connection.connection, Ed25519PrivateKey.generate())
