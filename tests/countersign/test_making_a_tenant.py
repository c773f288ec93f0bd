from __future__ import annotations

import io
import json
from typing import Any

import pytest
from cast import Cast
from django.core.management import CommandError, call_command

from tenants import isolation, members, signing_in
from tenants.models import Membership

PASSWORD = "correct horse battery"


def _make(*arguments: str) -> Any:
    out = io.StringIO()
    with isolation.outside_tenants():
        call_command("create_tenant", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_a_tenant_that_somebody_works_in_is_not_made_again(acme: Cast) -> None:
    with pytest.raises(CommandError, match="acme is taken"):
        _make("acme", "eve@acme.example")


@pytest.mark.parametrize(
    ("slug", "why"), [("Bad Name", "a slug is 2 to 30"), ("public", "public is reserved")]
)
def test_a_slug_that_can_not_be_one_is_told_so(slug: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        _make(slug, "eve@acme.example")


def test_a_making_that_was_cut_off_before_the_first_admin_is_finished(acme: Cast) -> None:
    with isolation.outside_tenants():
        Membership.objects.filter(tenant=acme.tenant).delete()
    made = _make("acme", "eve@acme.example")
    assert len(made["password"]) >= 20
    with isolation.acting_for(acme.tenant):
        (admin,) = members.everyone()
    assert (admin.user.email, admin.roles) == ("eve@acme.example", ["admin"])


def test_a_password_may_be_given_where_nobody_sees_it(
    acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    with isolation.outside_tenants():
        Membership.objects.filter(tenant=acme.tenant).delete()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    made = _make("acme", "eve@acme.example", "--password-stdin")
    assert made == {"tenant": "acme", "email": "eve@acme.example"}
    with isolation.acting_for(acme.tenant):
        assert signing_in.sign_in("eve@acme.example", PASSWORD, way="password").roles == {"admin"}
