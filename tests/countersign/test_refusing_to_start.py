from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import ConnectionInfo

from countersign import checks, configuration
from countersign.management.commands import prepare
from tests.environment import ROOT


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
        ("ALLOWED_HOSTS", ["localhost", "127.0.0.1"], "countersign.E002"),
        ("BASE_DOMAIN", "countersign.example", "countersign.E003"),
    ],
)
def test_an_unsafe_setting_is_refused_while_debug_is_off(
    settings: Any, db: None, name: str, value: object, code: str
) -> None:
    setattr(settings, name, value)
    if name == "BASE_DOMAIN":
        settings.ALLOWED_HOSTS = [".countersign.example"]
    assert _ids(checks.configuration_is_safe()) == [code]
    with pytest.raises(ImproperlyConfigured, match=code):
        checks.refuse_unsafe()


def test_a_superuser_is_refused(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY VIEW pg_roles AS"
            " SELECT session_user AS rolname, true AS rolsuper, false AS rolbypassrls"
        )
        cursor.execute("SET LOCAL search_path = pg_temp, pg_catalog, public")
    assert _database_problems() == ["countersign.E010"]


def test_a_database_that_forgets_what_it_promised_is_refused(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    assert _database_problems() == ["countersign.E011"]


def test_a_pooler_in_front_of_the_database_is_refused(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConnectionInfo, "backend_pid", 4711)  # poolers make one up
    assert _database_problems() == ["countersign.E012"]


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    ],
)
def test_a_database_where_everybody_may_make_objects_is_refused(db: None, grant: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(grant.format(database=connection.settings_dict["NAME"]))
    assert _ids(checks.database_is_prepared()) == ["countersign.E013"]
    with pytest.raises(ImproperlyConfigured, match=r"countersign\.E013: .* REVOKE TEMPORARY"):
        checks.refuse_unsafe()


def _database_problems() -> list[str]:
    return _ids(checks.database_is_safe(databases=["default"]))


@pytest.mark.soak
def test_neither_web_nor_worker_starts_on_an_unsafe_configuration(tmp_path: Path) -> None:
    commands = [
        ["-m", "uvicorn", "countersign.asgi:application", "--port", "1"],
        ["-m", "celery", "-A", "countersign.celery", "worker", "--pool", "solo"],
    ]
    unsafe = {"SECRET_KEY": "short", "COUNTERSIGN_STATE_DIRECTORY": str(tmp_path)}
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}"}
    servers = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **path, **unsafe},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    for server in servers:
        said, _ = server.communicate(timeout=60)
        assert server.returncode, said
        assert "countersign.E001" in said


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "99999", "PORT"),
        ("DEBUG", "perhaps", "DEBUG"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL"),
        ("COUNTERSIGN_MAX_BODY_BYTES", "12", "COUNTERSIGN_MAX_BODY_BYTES"),
        ("HTTPS", "perhaps", "HTTPS"),
        ("COUNTERSIGN_BASE_DOMAIN", "https://countersign.example", "COUNTERSIGN_BASE_DOMAIN"),
        ("COUNTERSIGN_BASE_DOMAIN", "countersign.example:8000", "COUNTERSIGN_BASE_DOMAIN"),
        ("CELERY_BROKER_URL", "nonsense", "CELERY_BROKER_URL: .* begins with redis or"),
        ("CELERY_BROKER_URL", "redis://", "CELERY_BROKER_URL: .* with a host"),
        ("OPENAI_BASE_URL", "foo", "OPENAI_BASE_URL: .* must begin with https://"),
        ("OPENAI_BASE_URL", "https://", "OPENAI_BASE_URL: .* name a host"),
    ],
)
def test_a_wrong_variable_fails_at_boot_with_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ImproperlyConfigured, match=said):
        configuration.read()


def test_the_base_domain_is_the_same_in_any_case_and_the_folder_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUNTERSIGN_BASE_DOMAIN", "Countersign.Example.")
    monkeypatch.setenv("COUNTERSIGN_STATE_DIRECTORY", "here")
    read = configuration.read()
    assert read.COUNTERSIGN_BASE_DOMAIN == "countersign.example"
    assert Path.cwd() / "here" == read.COUNTERSIGN_STATE_DIRECTORY


@pytest.mark.parametrize("https", ["true", "false"])
def test_https_governs_cookies_redirects_and_what_browsers_remember(https: str) -> None:
    names = [
        "SESSION_COOKIE_SECURE",
        "CSRF_COOKIE_SECURE",
        "SECURE_SSL_REDIRECT",
        "SECURE_HSTS_INCLUDE_SUBDOMAINS",
        "SECURE_HSTS_SECONDS",
        "SECURE_PROXY_SSL_HEADER",
    ]
    script = f"from countersign import settings as s; print([getattr(s, n) for n in {names}])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT / "platform",
        env={**os.environ, "HTTPS": https, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    proxy = ("HTTP_X_FORWARDED_PROTO", "https")
    on = [True, True, True, True, 365 * 24 * 3600, proxy]
    off = [False, False, False, False, 0, None]
    assert done.stdout.strip() == str(on if https == "true" else off)


def test_no_check_is_silenced_but_the_one_about_permissions_of_people() -> None:
    assert settings.SILENCED_SYSTEM_CHECKS == ["guardian.W001"]


def test_a_database_without_a_secret_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY")
    with pytest.raises(
        ImproperlyConfigured, match=r"SECRET_KEY: .* must be set when DATABASE_URL is"
    ):
        configuration.read()


def test_an_unreachable_database_is_named_in_one_sentence_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = {"host": "127.0.0.1", "port": 1, "user": "u", "password": "hunter2"}
    monkeypatch.setattr(prepare, "connection_parameters", lambda: nowhere)
    with pytest.raises(CommandError) as refused:
        call_command("prepare")
    said = str(refused.value)
    assert said.startswith("DATABASE_URL names a database that can't be used: ")
    assert "127.0.0.1" in said
    assert "hunter2" not in said


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
