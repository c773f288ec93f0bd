"""The only place that issues, checks and revokes keys."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from django.db import transaction
from django.db.models import Q, QuerySet

from audit import ledger
from audit.errors import Problem
from tenants import configuration, isolation
from tenants.events import KeyIssued, KeyRevoked
from tenants.keys.models import Key
from tenants.keys.secrets import PresentedKey, generate
from tenants.members import principal_of
from tenants.principals import Principal

MEMBER_TOKEN_LIFE = timedelta(hours=12)


class KeyRefused(Problem):
    """The key is unknown, revoked or expired."""

    code = "key_refused"
    status = 401


class KeyUnknown(Problem):
    """There is no key {key} here."""

    code = "key_unknown"
    status = 404


def issue_service_key(name: str, *, by: Principal, now: datetime) -> tuple[Key, str]:
    """A key for a client app: the row, and the text that is shown this once.

    Raises NotPermitted unless `by` is an admin.
    """
    by.require("admin")
    return _issue(Key.Kind.SERVICE, name=name, by=by, now=now)


def issue_member_token(member: Principal, *, now: datetime) -> tuple[Key, str]:
    """A token bound to the member who just signed in, for 12 hours: the row, and its text."""
    return _issue(
        Key.Kind.MEMBER,
        name=member.name,
        by=member,
        now=now,
        member=member.id,
        expires_at=now + MEMBER_TOKEN_LIFE,
    )


def _issue(
    kind: Key.Kind, *, name: str, by: Principal, now: datetime, **more: object
) -> tuple[Key, str]:
    text, public_id, secret_hash = generate(isolation.current().slug)
    with transaction.atomic():
        key = Key.objects.create(
            public_id=public_id,
            kind=kind,
            name=name,
            secret_hash=secret_hash,
            created_by=by.id,
            created_at=now,
            **more,
        )
        configuration.touch()
        ledger.record(KeyIssued(key=public_id, key_kind=kind.value, name=name), actor=by.actor)
    return key, text


def usable(now: datetime) -> QuerySet[Key]:
    """The keys that open the API at `now`."""
    return Key.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


def authenticate(presented: PresentedKey, *, now: datetime) -> Principal:
    """Whom the key speaks for, inside its tenant. Raises KeyRefused."""
    key = usable(now).filter(public_id=presented.public_id).first()
    if key is None or not presented.matches(key.secret_hash):
        raise KeyRefused
    if key.kind == Key.Kind.SERVICE:
        return Principal(
            kind="client_app",
            id=key.public_id,
            name=key.name,
            tenant=presented.tenant,
            means="service_key",
        )
    member = principal_of(key.member) if key.member else None
    if member is None:
        raise KeyRefused
    return msgspec.structs.replace(member, means="token")


def issuer_of(public_id: str) -> str | None:
    """The id of the member who issued the acting tenant's key, and has seen its secret; or None."""
    issued = Key.objects.filter(public_id=public_id).values_list("created_by", flat=True)
    return issued.first()


def revoke(public_id: str, *, by: Principal, now: datetime) -> None:
    """End a key at once. Revoking a revoked key changes nothing.

    Raises KeyUnknown, and NotPermitted unless `by` is an admin or the token's own member.
    """
    key = Key.objects.filter(public_id=public_id).first()
    if key is None or (str(key.member) != by.id and not by.has("admin")):
        raise KeyUnknown(key=public_id)
    with transaction.atomic():
        if Key.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now):
            configuration.touch()
            ledger.record(KeyRevoked(key=public_id, key_kind=key.kind), actor=by.actor)
