"""The only place where a person proves who they are."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction

from audit import ledger
from audit.errors import Problem
from tenants import isolation, members
from tenants.events import MemberSignedIn
from tenants.isolation import NoTenant
from tenants.models import User
from tenants.principals import Principal


class SignInRefused(Problem):
    """The address or the password is wrong."""

    code = "sign_in_refused"
    status = 401


def sign_in(email: str, password: str, *, way: str) -> Principal:
    """The member of the current tenant with this address and password, recorded in the ledger.

    Raises SignInRefused; an unknown address takes as long as a wrong password.
    """
    membership = members.with_address(email)
    if membership is None:
        make_password(password)
        raise SignInRefused
    member = members.principal_of(membership.user_id)
    if not check_password(password, membership.user.password) or member is None:
        raise SignInRefused
    with transaction.atomic():
        ledger.record(MemberSignedIn(member=member.id, way=way), actor=member.actor)
    return member


class MemberBackend:
    """Django's door for the console's sessions: members of the host's tenant, and nobody else."""

    def authenticate(
        self, request: Any, username: str | None = None, password: str | None = None
    ) -> User | None:
        """The user behind a correct address and password, or None."""
        try:
            member = sign_in(username or "", password or "", way="console")
        except (SignInRefused, NoTenant):
            return None
        return User.objects.get(pk=member.id)

    def get_user(self, user_id: Any) -> User | None:
        """The session's user while they are a member of the current tenant."""
        tenant = isolation.entered()
        known = User.objects.filter(pk=user_id, is_active=True, memberships__tenant=tenant)
        return known.first() if tenant else None
