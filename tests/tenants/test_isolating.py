from __future__ import annotations

import copy
import threading
from datetime import datetime
from typing import Any

import pytest
from cast import Cast
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import DatabaseError, InternalError, ProgrammingError, connection, transaction
from raw_sql import one, role

from tenants import configuration, isolation
from tenants.keys.models import Key
from tenants.models import Domain, Membership, Tenant, User
from tenants.postgresql.base import DatabaseWrapper


def _error() -> None:
    with pytest.raises(DatabaseError, match="division by zero"):
        one("SELECT 1/0")


def test_a_tenants_connection_runs_with_the_tenants_role(acme: Cast) -> None:
    assert role() == acme.tenant.role_name


def test_leaving_a_tenant_gives_its_role_back(acme: Cast) -> None:
    with isolation.outside_tenants():
        assert role() != acme.tenant.role_name
    assert role() == acme.tenant.role_name


def test_an_error_in_the_database_leaves_the_tenant_and_its_savepoint(
    acme: Cast, globex: Cast
) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), isolation.acting_for(globex.tenant):
        one("SELECT 1/0")
    assert role() == acme.tenant.role_name


def test_a_cursor_that_was_opened_outside_runs_as_the_tenant_that_was_entered_since(
    acme: Cast,
) -> None:
    with isolation.outside_tenants():
        cursor = connection.cursor()
    cursor.execute("SELECT current_user")
    assert cursor.fetchone() == (acme.tenant.role_name,)
    with isolation.outside_tenants():
        cursor.executemany("SELECT %s", [[1], [2]])
        assert role() != acme.tenant.role_name


def test_queries_that_are_kept_for_debugging_run_as_the_tenant_as_well(acme: Cast) -> None:
    connection.force_debug_cursor = True
    try:
        with isolation.outside_tenants():
            cursor = connection.cursor()
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (acme.tenant.role_name,)
    finally:
        connection.force_debug_cursor = False


def test_a_server_side_cursor_goes_on_as_the_tenant_that_opened_it(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    for number in range(3):
        Key.objects.create(public_id=f"{number:016}", created_at=now)
    rows = Key.objects.order_by("public_id").iterator(chunk_size=1)
    assert next(rows).public_id == "0" * 16
    with isolation.acting_for(globex.tenant):
        assert role() == globex.tenant.role_name
        assert [row.public_id for row in rows] == [f"{number:016}" for number in (1, 2)]


def test_a_rolled_back_transaction_does_not_leave_the_wrong_role_behind(
    acme: Cast, globex: Cast
) -> None:
    with isolation.acting_for(globex.tenant):
        with pytest.raises(DatabaseError), transaction.atomic():
            one("SELECT 1/0")
        assert role() == globex.tenant.role_name
    assert role() == acme.tenant.role_name


def test_a_commit_after_a_swallowed_error_fails_and_leaves_no_other_role(
    committed_acme: Cast,
) -> None:
    with isolation.outside_tenants():
        assert role() != committed_acme.tenant.role_name
        with isolation.acting_for(committed_acme.tenant):
            with pytest.raises(InternalError, match="nothing is committed"), transaction.atomic():
                _error()
            assert role() == committed_acme.tenant.role_name


def test_a_closed_connection_comes_back_as_the_tenant(committed_acme: Cast) -> None:
    before = one("SELECT pg_backend_pid()")
    connection.close()
    assert role() == committed_acme.tenant.role_name
    assert one("SELECT pg_backend_pid()") != before


def test_a_pooled_connection_never_keeps_the_role_of_who_had_it_before(
    committed_acme: Cast, casts: dict[str, Cast]
) -> None:
    wanted = copy.deepcopy(connection.settings_dict)
    wanted["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1}
    pooled: Any = DatabaseWrapper(wanted)
    found = []
    try:
        for tenant in (committed_acme.tenant, casts["globex"].tenant, None):
            if tenant is None:
                pooled.set_schema_to_public()
            else:
                pooled.set_tenant(tenant)
            with pooled.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid(), current_user::text")
                found.append(cursor.fetchone())
            pooled.close()
    finally:
        pooled.close_pool()
    assert len({pid for pid, _ in found}) == 1
    assert [role for _, role in found] == [
        committed_acme.tenant.role_name,
        casts["globex"].tenant.role_name,
        connection.settings_dict["USER"],
    ]


def test_another_threads_connection_knows_nothing_of_the_tenant(committed_acme: Cast) -> None:
    found: list[Any] = []

    def look() -> None:
        found.extend([isolation.entered(), role()])
        connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [None, connection.settings_dict["USER"]]


async def test_nobody_moves_into_a_tenant_from_asyncio(casts: dict[str, Cast]) -> None:
    tenant = casts["acme"].tenant
    for move in (isolation.acting_for, isolation.enter):
        with pytest.raises(SynchronousOnlyOperation):
            move(tenant)
    for move in (isolation.outside_tenants, isolation.leave):
        with pytest.raises(SynchronousOnlyOperation):
            move()


def test_a_tenant_without_a_role_is_not_entered(acme: Cast) -> None:
    nobody = Tenant(slug="nobody", schema_name="tenant_nobody", role_name="")
    with isolation.acting_for(nobody), pytest.raises(ImproperlyConfigured, match="no PostgreSQL"):
        one("SELECT 1")


def test_django_tenants_own_way_in_is_closed(acme: Cast) -> None:
    with pytest.raises(TypeError), acme.tenant:
        pass


def test_a_raw_query_into_another_tenants_schema_meets_permission_denied(
    acme: Cast, globex: Cast
) -> None:
    statement = f"TABLE {globex.tenant.schema_name}.keys_key"
    with pytest.raises(ProgrammingError, match="permission denied for schema"):
        one(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE keys_key",
        "TRUNCATE keys_key",
        "ALTER TABLE keys_key DISABLE ROW LEVEL SECURITY",
        "CREATE TABLE shadow (id int)",
        "CREATE TABLE public.tenants_userx (id int)",
        "CREATE FUNCTION lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        "CREATE FUNCTION public.shadow() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TEMPORARY TABLE tenants_user (id int)",
        "CREATE FUNCTION pg_temp.shadow() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE shadow",
        "CREATE SCHEMA shadow",
        "INSERT INTO tenants_user (id) VALUES (gen_random_uuid())",
        "UPDATE tenants_user SET password = ''",
        "UPDATE tenants_membership SET roles = '{admin}'",
        "DELETE FROM tenants_membership",
        "UPDATE tenants_tenant SET role_name = 'x'",
        "INSERT INTO tenants_domain (domain) VALUES ('x')",
        "SELECT count(*) FROM public.django_migrations",
        "COPY keys_key TO PROGRAM 'true'",
    ],
)
def test_a_tenants_role_changes_no_shape_and_shadows_nothing(acme: Cast, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"must be owner|permission denied"):
        one(statement)


def test_temporary_tables_of_the_login_role_shadow_nothing_either(acme: Cast) -> None:
    with isolation.outside_tenants():
        one("CREATE TEMPORARY TABLE tenants_tenant (id int)")
    assert Tenant.objects.get().slug == "acme"


@pytest.mark.parametrize("model", [Tenant, Domain, Membership, User])
def test_a_tenant_sees_only_its_own_rows_of_the_public_schema(
    acme: Cast, globex: Cast, model: Any
) -> None:
    seen = set(model.objects.values_list("pk", flat=True))
    with isolation.acting_for(globex.tenant):
        theirs = set(model.objects.values_list("pk", flat=True))
    assert seen
    assert theirs
    assert seen.isdisjoint(theirs)


@pytest.mark.parametrize("table", ["tenants_user", "tenants_membership", "tenants_tenant"])
def test_statistics_tell_a_tenant_nothing_of_shared_tables(acme: Cast, table: str) -> None:
    with isolation.outside_tenants():
        one(f"ANALYZE {table}")
        assert one("SELECT count(*) FROM pg_stats WHERE tablename = %s", table)
    assert one("SELECT count(*) FROM pg_stats WHERE tablename = %s", table) == 0


def test_a_tenant_reads_no_other_sessions_queries_and_ends_none(committed_acme: Cast) -> None:
    with isolation.outside_tenants():
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
    try:
        seen = one("SELECT query FROM pg_stat_activity WHERE pid = %s", pid)
        assert seen == "<insufficient privilege>"
        with pytest.raises(ProgrammingError, match="permission denied"):
            one("SELECT pg_terminate_backend(%s)", pid)
    finally:
        other.close()


def test_a_function_that_leaks_what_it_is_given_gets_no_foreign_row(
    acme: Cast, globex: Cast
) -> None:
    # A cast that fails says the value: it must not run before row-level security.
    with pytest.raises(DatabaseError) as raised:
        one("SELECT count(*) FROM tenants_user WHERE email::int = 1")
    assert "acme.test" in str(raised.value)
    assert "globex.test" not in str(raised.value)


def test_a_tenant_changes_no_other_tenants_configuration_version(acme: Cast, globex: Cast) -> None:
    one("UPDATE tenants_tenant SET configuration_version = configuration_version + 500")
    assert Tenant.objects.get().configuration_version > acme.tenant.configuration_version
    with isolation.acting_for(globex.tenant):
        assert Tenant.objects.get().configuration_version < 500
        before = Tenant.objects.get().configuration_version
        configuration.touch()
        assert Tenant.objects.get().configuration_version == before + 1


def test_rows_made_in_one_tenant_are_not_in_the_other(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    Key.objects.create(public_id="a" * 16, created_at=now)
    with isolation.acting_for(globex.tenant):
        assert not Key.objects.exists()
