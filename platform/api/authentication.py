"""The only place where a request of the REST API gets its principal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from audit.errors import Problem
from tenants import directory, isolation, members
from tenants.keys import issuing
from tenants.keys.issuing import KeyRefused
from tenants.keys.secrets import parse
from tenants.principals import NotPermitted, Principal

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module


class SignInNeeded(Problem):
    """Send a key: `Authorization: Bearer cs_...`."""

    code = "sign_in_needed"
    status = 401


class PrincipalRequest(Request):
    """A request whose sender is known: what views get once HasPrincipal let it pass."""

    user: Principal  # type: ignore[assignment]  # django-stubs knows people and sessions only


def principal_of(request: Request) -> Principal | None:
    """Who was authenticated, or None."""
    found: object = request.user
    return found if isinstance(found, Principal) else None


class BearerKey(BaseAuthentication):
    """A service key or a member's token. It says which tenant is meant; a host must agree."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        """The key's principal; the connection then acts for the key's tenant.

        Raises KeyRefused: unknown, revoked, foreign to this host and malformed look alike.
        """
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        presented = parse(text.strip())
        if presented is None:
            raise KeyRefused
        of_host = isolation.entered()
        if of_host is not None and of_host.slug != presented.tenant:
            raise KeyRefused
        try:
            isolation.enter(directory.of_slug(presented.tenant))
        except directory.TenantUnknown:
            raise KeyRefused from None
        return issuing.authenticate(presented, now=timezone.now()), None

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return 'Bearer realm="countersign"'


class MemberSession(SessionAuthentication):
    """A member who signed in to the console of this host, with CSRF protection."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """The session's member, or None.

        Sessions are a tenant's own: where the host names no tenant, a cookie can mean none.
        """
        if isolation.entered() is None:
            return None
        found = super().authenticate(request)
        if found is None:
            return None
        member = members.principal_of(found[0].pk)
        return (msgspec.structs.replace(member, means="session"), None) if member else None


class HasPrincipal(BasePermission):
    """Every endpoint needs a principal, unless it says otherwise."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Raise SignInNeeded where nobody asks."""
        if principal_of(request) is None:
            raise SignInNeeded
        return True


class MembersOnly(HasPrincipal):
    """Endpoints that are for people."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Raise SignInNeeded, or NotPermitted for a service key."""
        super().has_permission(request, view)
        principal = principal_of(request)
        if principal is None or principal.kind != "member":
            raise NotPermitted(roles="of a member")
        return True
