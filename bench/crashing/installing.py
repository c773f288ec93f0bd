"""The only place that makes an installation to be thrown away: PostgreSQL, two tenants, a sink."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from countersign import embedded

if TYPE_CHECKING:
    from tenants.models import Tenant

TENANTS = ("acme", "globex")


class Installed(NamedTuple):
    """The application's URL of the database, and the tenants; the environment names the rest."""

    url: str
    tenants: list[Tenant]


@contextlib.contextmanager
def installed(state: Path, data: Path) -> Iterator[Installed]:
    """PostgreSQL on `data`, everything else in `state`, and Django set up for it."""
    state.chmod(0o755)
    (state / "outside").mkdir(exist_ok=True)
    with embedded.server(data) as url:
        os.environ.update(
            DATABASE_URL=url,
            SECRET_KEY=secrets.token_urlsafe(50),
            COUNTERSIGN_STATE_DIRECTORY=str(state),
            COUNTERSIGN_CHECKPOINT_SINK=f"file://{state / 'outside'}",
            DJANGO_SETTINGS_MODULE="countersign.settings",
            HTTPS="false",
        )
        yield Installed(url, _furnished())


def _furnished() -> list[Tenant]:
    import django  # noqa: PLC0415  (its settings are in the environment only now)

    django.setup()
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # connections break: that is the point
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    from runtime import onboarding  # noqa: PLC0415

    call_command("migrate_schemas", interactive=False, verbosity=0)
    now = datetime.now(UTC)
    made = [onboarding.create_tenant(slug, name=slug.title(), now=now) for slug in TENANTS]
    connections.close_all()
    return made
