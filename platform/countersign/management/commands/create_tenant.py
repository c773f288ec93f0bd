"""The only place where an operator makes a tenant, with its first admin."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from audit.errors import Problem
from runtime import onboarding


class Command(BaseCommand):
    """Makes a tenant and its first admin, and prints the generated password once, as JSON."""

    help = "Make a tenant and its first admin; prints the admin's generated password once, as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """The tenant's slug, the admin's address, and names for both."""
        parser.add_argument("slug")
        parser.add_argument("email")
        parser.add_argument("--name", default="", help="the tenant's name")
        parser.add_argument("--admin-name", default="Admin")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them. A problem becomes a CommandError that says what is wrong."""
        now, password = timezone.now(), secrets.token_urlsafe(15)
        slug, email = options["slug"], options["email"]
        try:
            tenant = onboarding.create_tenant(slug, name=options["name"] or slug, now=now)
            onboarding.add_first_admin(
                tenant, email, name=options["admin_name"], password=password, now=now
            )
        except Problem as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(json.dumps({"tenant": slug, "email": email, "password": password}))
