"""The only place that knows which entities are there for a policy to name."""

from __future__ import annotations

from gateway.models import Route
from retrieval.models import Collection
from runtime.models import Agent, Tool
from tenants import members
from tenants.keys.models import Key


def ids() -> dict[str, set[str]]:
    """What a policy of the acting tenant can name: the ids of each entity type."""
    return {
        "Agent": set(Agent.objects.values_list("slug", flat=True)),
        "ClientApp": set(Key.objects.values_list("public_id", flat=True)),
        "Collection": set(Collection.objects.values_list("slug", flat=True)),
        "Member": {str(row.user_id) for row in members.everyone()},
        "Route": set(Route.objects.values_list("slug", flat=True)),
        "Tool": set(Tool.objects.values_list("slug", flat=True)),
    }
