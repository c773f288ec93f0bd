"""The only place that finds the names behind the ids that rows and entries keep."""

from __future__ import annotations

from tenants import members
from tenants.keys.models import Key


def known() -> dict[str, str]:
    """The names of the tenant's members and keys by their ids, and of the product itself."""
    people = {str(row.user_id): row.user.name for row in members.everyone()}
    keys = dict(Key.objects.values_list("public_id", "name"))
    return {"countersign": "Countersign", **keys, **people}
