"""Grants: what an agent may use at all."""

from __future__ import annotations

import pytest
from guardian.models import GroupObjectPermission

from audit import queries as ledger
from governance import grants
from tenants import isolation
from tenants.principals import NotPermitted
from tests.governance.desk import Desk


def test_a_grant_is_given_once_and_recorded(desk: Desk) -> None:
    before = ledger.entries(kind="grant.given").count()
    grants.grant("other-desk", desk.tool, by=desk.acme.alice)
    grants.grant("other-desk", desk.tool, by=desk.acme.alice)
    assert grants.of("other-desk") == {("tool", str(desk.tool.pk))}
    entry = ledger.entries(kind="grant.given").first()
    assert ledger.entries(kind="grant.given").count() == before + 1
    assert entry is not None
    given = GroupObjectPermission.objects.get(group__name="agent:other-desk")
    assert entry.event == {
        "grant": str(given.pk),
        "agent": "other-desk",
        "resource_kind": "Tool",
        "resource": "refund_order",
    }
    assert entry.actor.id == desk.acme.alice.id


def test_a_revoked_grant_is_gone(desk: Desk) -> None:
    before = ledger.entries(kind="grant.revoked").count()
    given = grants.find("refund-desk", desk.resource_of(desk.refund()))
    assert given is not None
    grants.revoke("refund-desk", desk.tool, by=desk.acme.alice)
    grants.revoke("refund-desk", desk.tool, by=desk.acme.alice)
    assert grants.of("refund-desk") == {("tool", str(desk.tools["look_up_order"].pk))}
    assert ledger.entries(kind="grant.revoked").count() == before + 1
    assert ledger.entries(kind="grant.revoked")[0].event["grant"] == given
    assert grants.find("refund-desk", desk.resource_of(desk.refund())) is None


@pytest.mark.parametrize("who", ["bob", "carol", "dave"])
def test_only_an_admin_grants_and_revokes(desk: Desk, who: str) -> None:
    for verb in (grants.grant, grants.revoke):
        with pytest.raises(NotPermitted):
            verb("refund-desk", desk.tool, by=getattr(desk.acme, who))


def test_the_data_plane_is_told(desk: Desk) -> None:
    tenant = isolation.current()
    tenant.refresh_from_db()
    before = tenant.configuration_version
    grants.grant("other-desk", desk.tool, by=desk.acme.alice)
    grants.revoke("other-desk", desk.tool, by=desk.acme.alice)
    tenant.refresh_from_db()
    assert tenant.configuration_version == before + 2
