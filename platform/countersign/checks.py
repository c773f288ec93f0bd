"""The only place that says which configurations are unsafe: they refuse to start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

SHORTEST_SECRET_KEY = 50
FEWEST_CHARACTERS = 10
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")


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
    return None


def _https_problem() -> str | None:
    if not settings.SESSION_COOKIE_SECURE and settings.BASE_DOMAIN != "localhost":
        return "HTTPS may only be off where COUNTERSIGN_BASE_DOMAIN is localhost."
    return None


@checks.register(checks.Tags.database)
def database_is_safe(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **_: Any
) -> list[checks.CheckMessage]:
    """The login role is no superuser (row-level security would not bind it), and commits last."""
    if not databases:
        return []
    problems: list[checks.CheckMessage] = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user")
        if cursor.fetchone() == (True,):
            text = "DATABASE_URL must not name a superuser, nor a role with BYPASSRLS."
            problems.append(checks.Error(text, id="countersign.E010"))
        cursor.execute(
            "SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting = 'off'",
            [list(DURABILITY)],
        )
        for (name,) in cursor.fetchall():
            text = f"PostgreSQL's {name} is off: what the ledger promised could be lost."
            problems.append(checks.Error(text, id="countersign.E011"))
    return problems


def refuse_unsafe() -> None:
    """Raise ImproperlyConfigured with everything that is wrong: for servers, before they serve."""
    found = [*configuration_is_safe(), *database_is_safe(databases=["default"])]
    if found:
        lines = [f"{problem.id}: {problem.msg}" for problem in found]
        raise ImproperlyConfigured("\n".join(["This configuration is unsafe:", *lines]))
