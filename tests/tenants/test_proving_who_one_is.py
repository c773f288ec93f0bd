from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from cast import PASSWORD, Cast

from audit.events import SYSTEM
from tenants import isolation, members, signing_in
from tenants.isolation import NoTenant
from tenants.models import User
from tenants.signing_in import MemberBackend, SignInRefused

OTHER_PASSWORD = "quite another passphrase"


def _refused(email: str, password: str) -> None:
    with pytest.raises(SignInRefused, match="The address or the password is wrong"):
        signing_in.sign_in(email, password, way="token")


def test_the_right_password_opens(acme: Cast) -> None:
    assert signing_in.sign_in("alice@acme.test", PASSWORD, way="token") == acme.alice
    assert signing_in.sign_in(" Alice@ACME.test", PASSWORD, way="token") == acme.alice


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("alice@acme.test", "a wrong passphrase"),
        ("alice@acme.test", ""),
        ("nobody@acme.test", PASSWORD),
        ("mallory@globex.test", PASSWORD),
        ("", PASSWORD),
        ("alice@acme.test\0", PASSWORD),
        ("%", PASSWORD),
    ],
)
def test_whatever_is_wrong_the_refusal_is_the_same(
    acme: Cast, globex: Cast, email: str, password: str
) -> None:
    _refused(email, password)


def test_an_admins_password_for_somebody_opens_no_other_tenant(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    with isolation.acting_for(globex.tenant):
        members.add(
            "alice@acme.test",
            name="Alice",
            password=OTHER_PASSWORD,
            roles=["viewer"],
            actor=SYSTEM,
            now=now,
        )
        signing_in.sign_in("alice@acme.test", OTHER_PASSWORD, way="token")
        _refused("alice@acme.test", PASSWORD)
    _refused("alice@acme.test", OTHER_PASSWORD)
    signing_in.sign_in("alice@acme.test", PASSWORD, way="token")


def test_an_address_that_was_taken_elsewhere_first_gives_no_way_in_later(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    """Mallory adds somebody whom acme will add; she knows the password that she chose."""
    wanted: dict[str, Any] = {"name": "Erin", "roles": ["admin"], "actor": SYSTEM, "now": now}
    with isolation.acting_for(globex.tenant):
        members.add("erin@acme.test", password=OTHER_PASSWORD, **wanted)
    members.add("erin@acme.test", password=PASSWORD, **wanted)
    _refused("erin@acme.test", OTHER_PASSWORD)


def test_an_unknown_address_costs_the_hash_that_a_wrong_password_costs(
    acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    for name in ("check_password", "make_password"):
        real = getattr(signing_in, name)
        monkeypatch.setattr(
            signing_in, name, lambda *a, name=name, real=real: hashed.append(name) or real(*a)
        )
    _refused("nobody@acme.test", PASSWORD)
    _refused("alice@acme.test", "a wrong passphrase")
    assert hashed == ["make_password", "check_password"]


def test_a_removed_or_deactivated_member_does_not_sign_in(acme: Cast) -> None:
    members.remove(UUID(acme.bob.id), by=acme.alice)
    _refused("bob@acme.test", PASSWORD)
    with isolation.outside_tenants():
        User.objects.filter(pk=acme.dave.id).update(is_active=False)
    _refused("dave@acme.test", PASSWORD)


def test_nobody_signs_in_outside_a_tenant(acme: Cast) -> None:
    backend = MemberBackend()
    with isolation.outside_tenants():
        with pytest.raises(NoTenant):
            signing_in.sign_in("alice@acme.test", PASSWORD, way="console")
        assert backend.authenticate(None, "alice@acme.test", PASSWORD) is None
        assert backend.get_user(acme.alice.id) is None


def test_a_session_ends_with_the_membership(acme: Cast, globex: Cast) -> None:
    backend = MemberBackend()
    bob = backend.authenticate(None, "bob@acme.test", PASSWORD)
    assert bob is not None
    assert backend.get_user(bob.pk) == bob
    with isolation.acting_for(globex.tenant):
        assert backend.get_user(bob.pk) is None
    members.remove(bob.pk, by=acme.alice)
    assert backend.get_user(bob.pk) is None
