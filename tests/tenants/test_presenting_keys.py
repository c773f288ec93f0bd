from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from cast import PASSWORD, Cast

from audit.events import SYSTEM
from tenants import isolation, members, signing_in
from tenants.keys import issuing, secrets
from tenants.keys.issuing import KeyRefused, KeyUnknown
from tenants.keys.models import Key
from tenants.models import Tenant, User
from tenants.principals import NotPermitted, Principal


def _present(text: str, now: datetime) -> Principal:
    presented = secrets.parse(text)
    assert presented is not None
    return issuing.authenticate(presented, now=now)


def _refused(text: str, now: datetime) -> None:
    with pytest.raises(KeyRefused, match=r"^The key is unknown, revoked or expired\.$"):
        _present(text, now)


def _token_of(email: str, now: datetime) -> str:
    member = signing_in.sign_in(email, PASSWORD, way="token")
    return issuing.issue_member_token(member, now=now)[1]


def test_a_service_key_speaks_for_its_client_app_without_any_role(
    acme: Cast, now: datetime
) -> None:
    key, text = issuing.issue_service_key("Shop", by=acme.alice, now=now)
    found = _present(text, now)
    assert (found.kind, found.id, found.tenant) == ("client_app", key.public_id, "acme")
    assert found.roles == frozenset()


def test_a_members_token_speaks_for_the_member(acme: Cast, now: datetime) -> None:
    bob = msgspec.structs.replace(acme.bob, means="token")
    assert _present(_token_of("bob@acme.test", now), now) == bob


def test_the_secret_is_stored_nowhere(acme: Cast, now: datetime) -> None:
    key, text = issuing.issue_service_key("Shop", by=acme.alice, now=now)
    secret = text.rpartition("_")[2]
    stored = Key.objects.filter(pk=key.pk).values().get()
    assert secret not in str(stored)
    assert stored["secret_hash"] == secrets.hash_of(secret)


def test_an_unknown_a_wrong_and_a_foreign_key_are_refused_alike(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    _, text = issuing.issue_service_key("Shop", by=acme.alice, now=now)
    _, others = issuing.issue_service_key("Other", by=acme.alice, now=now)
    tenant, public_id, secret = text.removeprefix("cs_").split("_")
    _refused(f"cs_{tenant}_{'0' * 16}_{secret}", now)
    _refused(f"cs_{tenant}_{public_id}_{'0' * 48}", now)
    _refused(f"cs_{tenant}_{public_id}_{others.rpartition('_')[2]}", now)
    with isolation.acting_for(globex.tenant):
        _refused(text, now)


def test_a_secret_is_compared_in_constant_time(
    acme: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    monkeypatch.setattr(
        secrets.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b
    )
    key, text = issuing.issue_service_key("Shop", by=acme.alice, now=now)
    _present(text, now)
    assert compared == [(key.secret_hash, key.secret_hash)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cs_acme",
        "cs_acme_0000000000000000",
        f"cs_acme_{'0' * 16}_{'0' * 47}",
        f"cs_acme_{'0' * 16}_{'0' * 49}",
        f"cs_Acme_{'0' * 16}_{'0' * 48}",
        f"cs_acme_{'0' * 16}_{'0' * 48}\n",
        f"CS_acme_{'0' * 16}_{'0' * 48}",
        f"cs_acme'--_{'0' * 16}_{'0' * 48}",
        f"cs_acme_{chr(0x660) * 16}_{'0' * 48}",  # a digit, though not an ASCII one
    ],
)
def test_what_is_not_written_as_a_key_is_none(text: str) -> None:
    assert secrets.parse(text) is None


def test_a_revoked_key_opens_nothing(acme: Cast, now: datetime) -> None:
    key, text = issuing.issue_service_key("Shop", by=acme.alice, now=now)
    issuing.revoke(key.public_id, by=acme.alice, now=now)
    _refused(text, now)


def test_a_members_token_ends_after_twelve_hours(acme: Cast, now: datetime) -> None:
    text = _token_of("bob@acme.test", now)
    _present(text, now + timedelta(hours=12) - timedelta(seconds=1))
    _refused(text, now + timedelta(hours=12))


def test_a_removed_members_token_opens_nothing_even_when_they_come_back(
    acme: Cast, now: datetime
) -> None:
    text = _token_of("bob@acme.test", now)
    members.remove(UUID(acme.bob.id), by=acme.alice)
    _refused(text, now)
    members.add(
        "bob@acme.test", name="Bob", password=PASSWORD, roles=["admin"], actor=SYSTEM, now=now
    )
    _refused(text, now)


def test_a_deactivated_members_token_opens_nothing(acme: Cast, now: datetime) -> None:
    text = _token_of("bob@acme.test", now)
    with isolation.outside_tenants():
        User.objects.filter(pk=acme.bob.id).update(is_active=False)
    _refused(text, now)


def test_a_token_has_the_roles_that_its_member_has_now(acme: Cast, now: datetime) -> None:
    text = _token_of("bob@acme.test", now)
    members.set_roles(UUID(acme.bob.id), ["viewer"], by=acme.alice)
    assert _present(text, now).roles == {"viewer"}


def test_every_change_of_the_keys_replaces_the_snapshots(acme: Cast, now: datetime) -> None:
    def version() -> int:
        return Tenant.objects.get().configuration_version

    before = version()
    key, _ = issuing.issue_service_key("Shop", by=acme.alice, now=now)
    assert version() == before + 1
    issuing.issue_member_token(acme.bob, now=now)
    assert version() == before + 2
    for _ in range(2):  # the second time nothing is left to change
        issuing.revoke(key.public_id, by=acme.alice, now=now)
        assert version() == before + 3


def test_only_an_admin_issues_service_keys(acme: Cast, now: datetime) -> None:
    for by in (acme.bob, acme.robo):
        with pytest.raises(NotPermitted):
            issuing.issue_service_key("Shop", by=by, now=now)


def test_a_key_that_is_not_ones_own_is_as_unknown_as_none(acme: Cast, now: datetime) -> None:
    service, _ = issuing.issue_service_key("Shop", by=acme.alice, now=now)
    token, _ = issuing.issue_member_token(acme.carol, now=now)
    for by in (acme.bob, acme.robo):
        for public_id in (service.public_id, token.public_id, "f" * 16):
            with pytest.raises(KeyUnknown):
                issuing.revoke(public_id, by=by, now=now)
    issuing.revoke(token.public_id, by=acme.carol, now=now)
