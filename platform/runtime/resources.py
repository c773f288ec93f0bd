"""The only place that finds what an intent asks for, and shows it as policies see it."""

from __future__ import annotations

from django.db import models

from audit.errors import Problem
from gateway.models import Route
from governance.intents import Intent
from governance.resources import Kind, Resource
from retrieval.models import Collection
from runtime.models import Tool

_KINDS: dict[str, tuple[Kind, type[models.Model]]] = {
    "use_tool": ("Tool", Tool),
    "search_collection": ("Collection", Collection),
    "call_model": ("Route", Route),
}


class ResourceUnknown(Problem):
    """There is no {kind} {resource} here."""

    code = "resource_unknown"
    status = 404


def row_of(kind: str, slug: str) -> models.Model:
    """The row of a tool, route or collection, for a grant. Raises ResourceUnknown."""
    model = next((model for name, model in _KINDS.values() if name.lower() == kind.lower()), None)
    row = model._default_manager.filter(slug=slug).first() if model else None  # noqa: SLF001
    if row is None:
        raise ResourceUnknown(kind=kind.lower(), resource=slug)
    return row


def asked_for(intent: Intent) -> Resource:
    """The resource that `intent` names. Raises ResourceUnknown."""
    kind, _ = _KINDS[intent.action]
    row = row_of(kind, intent.resource)
    attributes = {"effect": row.effect, "tags": []} if isinstance(row, Tool) else {}
    if isinstance(row, Collection):
        attributes = {"classification": row.classification}
    return Resource(kind=kind, slug=intent.resource, pk=str(row.pk), attributes=attributes)
