from __future__ import annotations

import pytest
from cast import Cast
from django.db import ProgrammingError, connection, transaction
from tenants import isolation
from tenants.keys.models import Key
from tenants.models import Membership, Tenant, User


def _one(sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    return row[0] if row else None


def test_a_tenants_connection_runs_with_the_tenants_role(acme: Cast) -> None:
    assert _one("SELECT current_user") == acme.tenant.role_name


def test_leaving_a_tenant_gives_its_role_back(acme: Cast) -> None:
    with isolation.outside_tenants():
        assert _one("SELECT current_user") != acme.tenant.role_name
    assert _one("SELECT current_user") == acme.tenant.role_name


def test_a_raw_query_into_another_tenants_schema_meets_permission_denied(acme: Cast, globex: Cast) -> None:
    with pytest.raises(ProgrammingError, match="permission denied for schema"), transaction.atomic():
        _one(f"SELECT count(*) FROM {globex.tenant.schema_name}.keys_key")


def test_the_tenants_role_may_not_change_the_shape_of_its_own_schema(acme: Cast) -> None:
    with pytest.raises(ProgrammingError, match="must be owner"), transaction.atomic():
        _one("DROP TABLE keys_key")


@pytest.mark.parametrize("model", [Tenant, Membership, User])
def test_a_tenant_sees_only_its_own_rows_of_the_public_schema(acme: Cast, globex: Cast, model: type) -> None:
    seen = set(model.objects.values_list("pk", flat=True))
    with isolation.acting_for(globex.tenant):
        theirs = set(model.objects.values_list("pk", flat=True))
    assert seen
    assert theirs
    assert seen.isdisjoint(theirs)


def test_rows_made_in_one_tenant_are_not_in_the_other(acme: Cast, globex: Cast, now: object) -> None:
    Key.objects.create(public_id="a" * 16, kind="service", name="x", secret_hash="", created_by="", created_at=now)
    with isolation.acting_for(globex.tenant):
        assert not Key.objects.exists()


def test_a_rolled_back_transaction_does_not_leave_the_wrong_role_behind(acme: Cast, globex: Cast) -> None:
    with isolation.acting_for(globex.tenant):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            _one("SELECT 1")
            raise ZeroDivisionError
        assert _one("SELECT current_user") == globex.tenant.role_name
    assert _one("SELECT current_user") == acme.tenant.role_name
