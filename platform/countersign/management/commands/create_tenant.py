"""The only place where an operator makes a tenant, with its first admin."""

from __future__ import annotations

import json
import secrets
import sys
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from audit.errors import Problem
from runtime import onboarding
from tenants import directory
from tenants.models import Tenant


class Command(BaseCommand):
    """Makes a tenant and its first admin, and prints the generated password once, as JSON."""

    help = "Make a tenant and its first admin; prints the admin's generated password once, as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """The tenant's slug, the admin's address, and names for both."""
        parser.add_argument("slug")
        parser.add_argument("email")
        parser.add_argument("--name", default="", help="the tenant's name")
        parser.add_argument("--admin-name", default="Admin")
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="read the admin's password from standard input instead of making one",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them. A problem becomes a CommandError that says what is wrong."""
        now, asked = timezone.now(), options["password_stdin"]
        password = sys.stdin.readline().rstrip("\n") if asked else secrets.token_urlsafe(15)
        slug, email = options["slug"], options["email"]
        try:
            tenant = _tenant(slug, options["name"] or slug, now)
            onboarding.add_first_admin(
                tenant, email, name=options["admin_name"], password=password, now=now
            )
        except Problem as problem:
            raise CommandError(str(problem)) from problem
        told = {} if asked else {"password": password}
        self.stdout.write(json.dumps({"tenant": slug, "email": email, **told}))


def _tenant(slug: str, name: str, now: datetime) -> Tenant:
    """The tenant: made, or found without anybody in it, since an earlier call was cut off."""
    try:
        return onboarding.create_tenant(slug, name=name, now=now)
    except directory.TenantTaken:
        tenant = directory.of_slug(slug)
        if tenant.memberships.exists():
            raise
        return tenant
