"""The only place for how the console's tests visit it: a signed-in client on a tenant's host."""

from __future__ import annotations

import re
import tempfile
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from django.test import Client

from audit import sequencer
from audit.guard import Guard
from tenants import isolation
from tenants.models import Tenant, User
from tenants.principals import Principal

BACKEND = "tenants.signing_in.MemberBackend"

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Visitor:
    """Somebody with a browser on one host; the test's own tenant is kept around each request."""

    def __init__(self, tenant: Tenant, member: Principal | None = None, **options: Any) -> None:
        self.tenant = tenant
        self._member = member
        self.client = Client(HTTP_HOST=f"{tenant.slug}.localhost", **options)

    def sign_in(self) -> None:
        """Have a session, before the first request."""
        if self._member is not None:
            with isolation.acting_for(self.tenant):
                self.client.force_login(User.objects.get(pk=self._member.id), backend=BACKEND)
            self._member = None

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Any:
        """The answer to a GET; `headers` as keywords."""
        address = f"{path}?{urlencode(query)}" if query else path
        return self._kept(lambda: self.client.get(address, headers=headers))

    def post(self, path: str, data: dict[str, Any] | None = None, **headers: str) -> Any:
        """The answer to a form."""
        return self._kept(lambda: self.client.post(path, data or {}, headers=headers))

    def post_once(self, page: str, path: str, data: dict[str, Any] | None = None) -> Any:
        """The answer to a form that can be sent once, as `page` shows it."""
        found = re.search(r'name="once" value="([^"]+)"', self.words(page))
        assert found, f"{page} has no form that can be sent once"
        return self.post(path, {**(data or {}), "once": unescape(found[1])})

    def words(self, path: str, query: dict[str, Any] | None = None) -> str:
        """The page as text, which must be there."""
        answer = self.get(path, query)
        assert answer.status_code == 200, (path, answer.status_code)
        return str(answer.content.decode())

    def _kept(self, ask: Any) -> Any:
        self.sign_in()
        before = connection.tenant
        try:
            return ask()
        finally:
            connection.set_tenant(before)


def seal() -> None:
    """Seal and publish all that was recorded so far, on the test's own connection."""
    with isolation.outside_tenants(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        with tempfile.TemporaryDirectory() as kept:
            guard = Guard(Path(kept))
            sequencer.run_once(connection.connection, KEY, guard=guard)
