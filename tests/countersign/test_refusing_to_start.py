from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from countersign import checks, configuration


def _ids(found: list[Any]) -> list[str]:
    return [message.id for message in found]


def test_the_tests_own_configuration_is_safe(db: None) -> None:
    checks.refuse_unsafe()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SECRET_KEY", "short", "countersign.E001"),
        ("SECRET_KEY", "a" * 60, "countersign.E001"),
        ("ALLOWED_HOSTS", ["*"], "countersign.E002"),
        ("ALLOWED_HOSTS", [], "countersign.E002"),
        ("BASE_DOMAIN", "countersign.example", "countersign.E003"),
    ],
)
def test_an_unsafe_setting_is_refused_while_debug_is_off(
    settings: Any, db: None, name: str, value: object, code: str
) -> None:
    setattr(settings, name, value)
    assert _ids(checks.configuration_is_safe()) == [code]
    with pytest.raises(ImproperlyConfigured, match=code):
        checks.refuse_unsafe()


def test_a_superuser_is_refused(db: None) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY VIEW pg_roles AS"
            " SELECT session_user AS rolname, true AS rolsuper, false AS rolbypassrls"
        )
        cursor.execute("SET LOCAL search_path = pg_temp, public")
    assert _ids(checks.database_is_safe(databases=["default"])) == ["countersign.E010"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "99999", "PORT"),
        ("DEBUG", "perhaps", "DEBUG"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL"),
        ("COUNTERSIGN_MAX_BODY_BYTES", "12", "COUNTERSIGN_MAX_BODY_BYTES"),
    ],
)
def test_a_wrong_variable_fails_at_boot_with_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ImproperlyConfigured, match=said):
        configuration.read()


def test_a_database_without_a_secret_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY")
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY must be set"):
        configuration.read()


def test_a_refused_environment_ends_the_process_with_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env={**os.environ, "PORT": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "PORT" in done.stderr.splitlines()[-1]
