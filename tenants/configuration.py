"""The only place that says that a tenant's configuration changed: snapshots are replaced."""

from __future__ import annotations

from django.db.models import F

from tenants import isolation
from tenants.models import Tenant


def touch() -> None:
    """Raise the current tenant's configuration version, in the caller's transaction."""
    tenant = isolation.current()
    Tenant.objects.filter(pk=tenant.pk).update(configuration_version=F("configuration_version") + 1)
