"""The only place that says which configurations are unsafe: they refuse to start."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http.request import validate_host

from audit import ddl_guard
from audit.sequencer import MUST_BE_ON

logger = logging.getLogger(__name__)

SHORTEST_SECRET_KEY = 50
FEWEST_CHARACTERS = 10
UNGUARDED = (
    "Nothing keeps DDL away from the ledger's tables: run `manage.py protect_ledger` once with a"
    " superuser in DATABASE_URL."
)


@checks.register(checks.Tags.security)
def configuration_is_safe(
    app_configs: Sequence[AppConfig] | None = None, **_: Any
) -> list[checks.CheckMessage]:
    """With DEBUG off: a strong SECRET_KEY, named hosts, and HTTPS unless all is on this machine."""
    if settings.DEBUG:
        return []
    problems = {
        "countersign.E001": _secret_key_problem(),
        "countersign.E002": _hosts_problem(),
        "countersign.E003": _https_problem(),
    }
    return [checks.Error(text, id=code) for code, text in problems.items() if text]


def _secret_key_problem() -> str | None:
    key = settings.SECRET_KEY
    if len(key) < SHORTEST_SECRET_KEY or len(set(key)) < FEWEST_CHARACTERS:
        return f"SECRET_KEY must be {SHORTEST_SECRET_KEY} random characters or more."
    return None


def _hosts_problem() -> str | None:
    if "*" in settings.ALLOWED_HOSTS or not settings.ALLOWED_HOSTS:
        return "ALLOWED_HOSTS must name the hosts that are served, not '*'."
    if not validate_host(f"tenant.{settings.BASE_DOMAIN}", settings.ALLOWED_HOSTS):
        return f"ALLOWED_HOSTS must hold .{settings.BASE_DOMAIN}, which tenants' hosts are below."
    return None


def _https_problem() -> str | None:
    if not settings.SESSION_COOKIE_SECURE and settings.BASE_DOMAIN != "localhost":
        return "HTTPS may only be off where COUNTERSIGN_BASE_DOMAIN is localhost."
    return None


@checks.register(checks.Tags.database)
def database_is_safe(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **_: Any
) -> list[checks.CheckMessage]:
    """Roles bind whoever connects here, nobody stands in between, and a commit lasts."""
    if not databases:
        return []
    with connection.cursor() as cursor:
        problems = {
            "countersign.E010": _login_role_problem(cursor),
            "countersign.E011": _durability_problem(cursor),
            "countersign.E012": _pooler_problem(cursor),
        }
        is_guarded = ddl_guard.is_there(cursor)
    found: list[checks.CheckMessage] = [
        checks.Error(text, id=code) for code, text in problems.items() if text
    ]
    return found if is_guarded else [*found, checks.Warning(UNGUARDED, id="countersign.W014")]


def database_is_prepared() -> list[checks.CheckMessage]:
    """The login role alone makes objects. No system check: migrating is what brings it about."""
    with connection.cursor() as cursor:
        problem = _privileges_problem(cursor)
    return [checks.Error(problem, id="countersign.E013")] if problem else []


def _login_role_problem(cursor: Any) -> str | None:
    cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user")
    if cursor.fetchone() == (True,):
        # Row-level security would not bind it.
        return "DATABASE_URL must not name a superuser, nor a role with BYPASSRLS."
    return None


def _durability_problem(cursor: Any) -> str | None:
    cursor.execute(
        "SELECT string_agg(name, ', ') FROM pg_settings WHERE name = ANY(%s) AND setting = 'off'",
        [list(MUST_BE_ON)],
    )
    (off,) = cursor.fetchone()
    return f"PostgreSQL's {off} is off: what the ledger promised could be lost." if off else None


def _pooler_problem(cursor: Any) -> str | None:
    """A pooler makes up the process id that a connection begins with."""
    cursor.execute("SELECT pg_backend_pid()")
    (served_by,) = cursor.fetchone()
    if served_by != cursor.connection.info.backend_pid:
        return (
            "DATABASE_URL must name PostgreSQL itself, not a pooler: one that shares sessions"
            " would hand a tenant's role to others. DATABASE_POOL_SIZE keeps connections."
        )
    return None


def _privileges_problem(cursor: Any) -> str | None:
    cursor.execute(
        "SELECT has_database_privilege('public', current_database(), 'TEMPORARY')"
        " OR has_schema_privilege('public', 'public', 'CREATE'), current_database()"
    )
    everybody_may, database = cursor.fetchone()
    if everybody_may:
        return (
            "Every role may make objects that others could stumble over. As the database's owner:"
            f' REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC;'
            " REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
        )
    return None


def refuse_unsafe() -> None:
    """Raise ImproperlyConfigured with everything that is wrong: for servers, before they serve.

    What only weakens a defence is logged.
    """
    found = [
        *configuration_is_safe(),
        *database_is_safe(databases=["default"]),
        *database_is_prepared(),
    ]
    for warning in found:
        if not warning.is_serious():
            logger.warning("%s: %s", warning.id, warning.msg)
    serious = [problem for problem in found if problem.is_serious()]
    if serious:
        lines = [f"{problem.id}: {problem.msg}" for problem in serious]
        raise ImproperlyConfigured("\n".join(["This configuration is unsafe:", *lines]))
