"""The only place that makes a tenant ready to work: schema, ledger, policies, first admin."""

from __future__ import annotations

from datetime import datetime

from audit.events import SYSTEM
from governance import policy_sets
from tenants import directory, isolation, members
from tenants.models import Membership, Role, Tenant


def create_tenant(slug: str, *, name: str, now: datetime) -> Tenant:
    """A tenant with the default policies, or none at all. Raises TenantInvalid, TenantTaken."""
    return directory.create(slug, name=name, now=now, furnish=lambda: policy_sets.begin(now))


def add_first_admin(
    tenant: Tenant, email: str, *, name: str, password: str, now: datetime
) -> Membership:
    """The member who adds everybody else. Raises MemberInvalid."""
    with isolation.acting_for(tenant):
        return members.add(
            email, name=name, password=password, roles=[Role.ADMIN], actor=SYSTEM, now=now
        )
