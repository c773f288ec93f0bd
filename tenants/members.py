"""The only place that adds, changes and finds the members of the current tenant."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from audit import ledger
from audit.errors import Problem
from audit.events import Actor
from tenants import configuration, isolation
from tenants.events import MemberAdded, MemberChanged, MemberRemoved
from tenants.models import Membership, Role, User
from tenants.principals import Principal


class MemberUnknown(Problem):
    """There is no member {member} here."""

    code = "member_unknown"
    status = 404


class MemberInvalid(Problem):
    """The member can't be added: {reason}"""

    code = "member_invalid"
    status = 422


class LastAdmin(Problem):
    """A tenant must keep an admin: {member} is the last one."""

    code = "last_admin"
    status = 409


def add(
    email: str, *, name: str, password: str, roles: Iterable[str], actor: Actor, now: datetime
) -> Membership:
    """Make a user of the current tenant, with their membership.

    Whether another tenant knows the address changes nothing here, and can't be told from the
    answer. Raises MemberInvalid.
    """
    tenant, wanted = isolation.current(), _checked_roles(roles)
    user = User(tenant=tenant, email=address(email), name=name.strip())
    _give_password(user, password)
    with transaction.atomic():
        try:
            with transaction.atomic(), isolation.outside_tenants():
                user.save(force_insert=True)
                membership = Membership.objects.create(
                    user=user, tenant=tenant, roles=wanted, created_at=now
                )
        except IntegrityError:
            raise MemberInvalid(reason=f"{user.email} is a member already") from None
        configuration.touch()
        ledger.record(MemberAdded(member=str(user.pk), roles=wanted), actor=actor)
    return membership


def address(email: str) -> str:
    """An e-mail address as it is stored and found: in lower case, without blanks around it."""
    return email.strip().lower()


def _checked_roles(roles: Iterable[str]) -> list[str]:
    wanted = sorted(set(roles))
    unknown = sorted(set(wanted) - set(Role.values))
    if unknown or not wanted:
        raise MemberInvalid(reason=f"roles must be some of {', '.join(Role.values)}")
    return wanted


def _give_password(user: User, password: str) -> None:
    try:
        user.clean_fields(exclude={"id", "tenant", "password"})
        validate_password(password, user)
    except ValidationError as problem:
        raise MemberInvalid(reason=" ".join(problem.messages)) from None
    if not user.email.isascii() or "\0" in user.email + user.name:
        raise MemberInvalid(reason="an address is plain ASCII, and a name is printable")
    user.set_password(password)


def everyone() -> QuerySet[Membership]:
    """The current tenant's memberships with their users, by name."""
    return (
        Membership.objects.filter(tenant=isolation.current())
        .select_related("user")
        .order_by("user__name")
    )


def with_address(email: str) -> Membership | None:
    """The membership of the active user who signs in with this address, or None."""
    wanted = address(email)
    found = everyone().filter(user__email=wanted, user__is_active=True)
    return found.first() if wanted.isprintable() else None


def id_of(name: str) -> str | None:
    """The user id of the member whose address or id `name` is, in any spelling; else None."""
    try:
        found = everyone().filter(user_id=UUID(name.strip()), user__is_active=True).first()
    except ValueError:
        found = with_address(name)
    return str(found.user_id) if found else None


def principal_of(user_id: UUID | str) -> Principal | None:
    """The member with this user id as a principal of the current tenant, or None."""
    membership = everyone().filter(user_id=user_id, user__is_active=True).first()
    return _principal(membership) if membership else None


def principals() -> dict[str, Principal]:
    """Every member of the current tenant as a principal, by user id: for a snapshot."""
    active = everyone().filter(user__is_active=True)
    return {str(membership.user_id): _principal(membership) for membership in active}


def _principal(membership: Membership) -> Principal:
    return Principal(
        kind="member",
        id=str(membership.user_id),
        name=membership.user.name,
        tenant=isolation.current().slug,
        roles=frozenset(membership.roles),
    )


def set_roles(user_id: UUID, roles: Iterable[str], *, by: Principal) -> None:
    """Change a member's roles. Raises MemberUnknown, MemberInvalid, LastAdmin, NotPermitted."""
    by.require("admin")
    wanted = _checked_roles(roles)
    with transaction.atomic():
        membership = _locked(user_id)
        if Role.ADMIN not in wanted:
            _refuse_if_last_admin(membership)
        before = list(membership.roles)
        with isolation.outside_tenants():
            Membership.objects.filter(pk=membership.pk).update(roles=wanted)
        configuration.touch()
        ledger.record(
            MemberChanged(member=str(user_id), roles_before=before, roles=wanted), actor=by.actor
        )


def remove(user_id: UUID, *, by: Principal) -> None:
    """End a membership, and its user: their sessions and tokens never work again, whoever is added
    with the same address later.

    Raises MemberUnknown, LastAdmin, NotPermitted.
    """
    by.require("admin")
    with transaction.atomic():
        membership = _locked(user_id)
        _refuse_if_last_admin(membership)
        with isolation.outside_tenants():
            Membership.objects.filter(pk=membership.pk).delete()
            User.objects.filter(pk=user_id).update(is_active=False)
        configuration.touch()
        ledger.record(MemberRemoved(member=str(user_id)), actor=by.actor)


def address_of(user_id: str) -> str | None:
    """The address of the member with this id, or of one who was removed; else None."""
    found = User.objects.filter(pk=user_id, tenant=isolation.current())
    with isolation.outside_tenants():
        return found.values_list("email", flat=True).first()


def forget(user_id: UUID, *, name: str) -> bool:
    """Put `name` for the name of a removed member, and no address for theirs, in the caller's
    transaction. False where there is no such user of the tenant, or they are a member still.
    """
    gone = User.objects.filter(pk=user_id, tenant=isolation.current(), is_active=False)
    with isolation.outside_tenants():
        return gone.update(name=name, email=f"{user_id}@erased.invalid", password="") == 1


def _locked(user_id: UUID) -> Membership:
    """The membership; all of the tenant's are locked, so two admins can't remove each other."""
    tenant = isolation.current()
    with isolation.outside_tenants():
        rows = list(Membership.objects.select_for_update().filter(tenant=tenant).order_by("pk"))
    for row in rows:
        if row.user_id == user_id:
            return row
    raise MemberUnknown(member=str(user_id))


def _refuse_if_last_admin(membership: Membership) -> None:
    admins = everyone().filter(roles__contains=[Role.ADMIN], user__is_active=True)
    others = admins.exclude(pk=membership.pk)
    if Role.ADMIN in membership.roles and not others.exists():
        raise LastAdmin(member=str(membership.user_id))
