from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from cast import PASSWORD, Cast
from django.db import IntegrityError, connection, transaction

from audit.events import SYSTEM
from tenants import isolation, members
from tenants.members import LastAdmin, MemberInvalid, MemberUnknown
from tenants.models import Membership, Tenant, User
from tenants.principals import NotPermitted, Principal

OTHER_PASSWORD = "quite another passphrase"


def _add(email: str, now: datetime, *, password: str = PASSWORD, **more: Any) -> Membership:
    wanted = {"name": "Alice of Globex", "roles": ["viewer"], "actor": SYSTEM, **more}
    return members.add(email, password=password, now=now, **wanted)


def _version() -> int:
    return Tenant.objects.get(pk=isolation.current().pk).configuration_version


def _id(member: Principal) -> UUID:
    return UUID(member.id)


def test_the_same_address_in_two_tenants_is_two_people(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    before = User.objects.get(pk=acme.alice.id)
    with isolation.acting_for(globex.tenant):
        made = _add("alice@acme.test", now, password=OTHER_PASSWORD)
        assert made.user.name == "Alice of Globex"
        assert str(made.user_id) != acme.alice.id
    after = User.objects.get(pk=acme.alice.id)
    assert (after.name, after.password, after.email) == (
        before.name,
        before.password,
        before.email,
    )
    assert not User.objects.filter(pk=made.user_id).exists()


def test_adding_an_address_of_another_tenant_answers_as_adding_a_new_one(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    with isolation.acting_for(globex.tenant):
        known, unknown = _add("alice@acme.test", now), _add("nobody@acme.test", now)
        for email in ("alice@acme.test", "nobody@acme.test"):
            with pytest.raises(MemberInvalid, match="is a member already"):
                _add(email, now)
        with pytest.raises(MemberInvalid) as weak:
            _add("bob@acme.test", now, password="short")
        with pytest.raises(MemberInvalid) as new:
            _add("bobby@acme.test", now, password="short")
    assert str(weak.value) == str(new.value)
    assert (known.user.name, known.roles) == (unknown.user.name, unknown.roles)


@pytest.mark.parametrize("email", ["ALICE@acme.test", " alice@Acme.Test ", "alice@acme.test"])
def test_an_address_is_the_same_in_any_case(acme: Cast, now: datetime, email: str) -> None:
    with pytest.raises(MemberInvalid, match=r"alice@acme\.test is a member already"):
        _add(email, now)
    found = members.with_address(email)
    assert found is not None
    assert str(found.user_id) == acme.alice.id


def test_postgresql_itself_keeps_addresses_in_lower_case_and_once_a_tenant(
    acme: Cast,
) -> None:
    with isolation.outside_tenants():
        for email in ("X@acme.test", "alice@acme.test"):
            with pytest.raises(IntegrityError), transaction.atomic():
                User.objects.create(tenant=acme.tenant, email=email, name="X")


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": "no-address"},
        {"email": ""},
        {"email": "\N{LATIN SMALL LETTER LONG S}am@acme.test"},
        {"email": f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}.test"},
        {"email": "new\0@acme.test"},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "N\0ul"},
        {"password": "short"},
        {"password": "password1234"},
        {"roles": []},
        {"roles": ["owner"]},
    ],
)
def test_a_bad_member_is_refused_with_the_reason_and_changes_nothing(
    acme: Cast, now: datetime, wrong: dict[str, Any]
) -> None:
    before = (_version(), members.everyone().count())
    with pytest.raises(MemberInvalid):
        _add(**{"email": "new@acme.test", "now": now, **wrong})
    assert (_version(), members.everyone().count()) == before


def test_every_change_of_the_members_replaces_the_snapshots(acme: Cast, now: datetime) -> None:
    versions = [_version()]
    added = _add("erin@acme.test", now)
    versions.append(_version())
    members.set_roles(added.user_id, ["builder"], by=acme.alice)
    versions.append(_version())
    members.remove(added.user_id, by=acme.alice)
    versions.append(_version())
    assert versions == [versions[0] + more for more in range(4)]


def test_a_removed_member_is_nobody_and_comes_back_as_somebody_new(
    acme: Cast, now: datetime
) -> None:
    members.remove(_id(acme.bob), by=acme.alice)
    assert members.principal_of(acme.bob.id) is None
    assert members.with_address("bob@acme.test") is None
    again = _add("bob@acme.test", now)
    assert str(again.user_id) != acme.bob.id
    assert members.principal_of(acme.bob.id) is None


def test_a_deactivated_member_is_nobody(acme: Cast) -> None:
    with isolation.outside_tenants():
        User.objects.filter(pk=acme.bob.id).update(is_active=False)
    assert members.principal_of(acme.bob.id) is None
    assert acme.bob.id not in members.principals()


def test_roles_count_from_the_next_question_on(acme: Cast) -> None:
    members.set_roles(_id(acme.bob), ["viewer"], by=acme.alice)
    bob = members.principal_of(acme.bob.id)
    assert bob is not None
    assert bob.roles == {"viewer"}


def test_the_last_admin_stays(acme: Cast) -> None:
    with pytest.raises(LastAdmin):
        members.remove(_id(acme.alice), by=acme.alice)
    with pytest.raises(LastAdmin):
        members.set_roles(_id(acme.alice), ["viewer"], by=acme.alice)
    members.set_roles(_id(acme.alice), ["viewer", "admin"], by=acme.alice)


def test_an_admin_who_can_not_sign_in_does_not_count_as_one(acme: Cast) -> None:
    members.set_roles(_id(acme.bob), ["admin"], by=acme.alice)
    with isolation.outside_tenants():
        User.objects.filter(pk=acme.bob.id).update(is_active=False)
    with pytest.raises(LastAdmin):
        members.remove(_id(acme.alice), by=acme.alice)


def test_somebody_who_was_an_admin_when_they_began_can_not_end_the_last_one(acme: Cast) -> None:
    members.set_roles(_id(acme.bob), ["admin"], by=acme.alice)
    bob = members.principal_of(acme.bob.id)
    assert bob is not None
    members.remove(_id(acme.alice), by=bob)
    with pytest.raises(LastAdmin):
        members.remove(_id(acme.bob), by=acme.alice)


def test_only_admins_change_members(acme: Cast) -> None:
    for by in (acme.bob, acme.dave, acme.robo):
        with pytest.raises(NotPermitted):
            members.set_roles(_id(acme.carol), ["admin"], by=by)
        with pytest.raises(NotPermitted):
            members.remove(_id(acme.carol), by=by)


def test_another_tenants_member_is_as_unknown_as_nobody(acme: Cast, globex: Cast) -> None:
    for member in (_id(globex.mallory), uuid4()):
        with pytest.raises(MemberUnknown, match=str(member)):
            members.set_roles(member, ["viewer"], by=acme.alice)
        with pytest.raises(MemberUnknown, match=str(member)):
            members.remove(member, by=acme.alice)
        assert members.principal_of(member) is None


def test_a_user_id_of_another_tenant_can_not_be_told_from_none(acme: Cast, globex: Cast) -> None:
    """A foreign key is checked past row-level security, so one that is wanted must not be there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
            " AND confrelid = 'public.tenants_user'::regclass AND connamespace = %s::regnamespace",
            [acme.tenant.schema_name],
        )
        tables = {name for (name,) in cursor.fetchall()}
    # guardian's table of people's permissions, which nothing writes: agents have them, not people.
    assert tables == {"guardian_userobjectpermission"}
