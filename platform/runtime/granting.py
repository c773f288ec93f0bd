"""The only place that gives an agent what it needs to use a tool, a route or a collection."""

from __future__ import annotations

import msgspec
from django.db import models, transaction

from gateway.models import Route
from governance import grants
from retrieval.models import Collection
from runtime import resources
from runtime.models import Agent, Tool
from runtime.resources import ResourceUnknown
from tenants.principals import Principal

KINDS: dict[str, type[models.Model]] = {"tool": Tool, "route": Route, "collection": Collection}


class Grant(msgspec.Struct, frozen=True, order=True):
    """One agent may use this tool, route or collection."""

    kind: str
    slug: str


class NotGranted(ResourceUnknown):
    """The agent {agent} has no grant of the {kind} {resource}."""

    code = "not_granted"
    status = 404


def give(agent: Agent, kind: str, slug: str, *, by: Principal) -> list[Grant]:
    """Grant a resource, and with a collection the route that embeds its queries; what was given.

    Granting twice changes nothing. Raises NotPermitted (admins grant), ResourceUnknown.
    """
    by.require("admin")
    row = resources.row_of(kind, slug)
    given = [Grant(kind, slug)]
    with transaction.atomic():
        grants.grant(agent.slug, row, by=by)
        if isinstance(row, Collection):
            route = resources.row_of("route", row.embedding_route)
            grants.grant(agent.slug, route, by=by)
            given.append(Grant("route", row.embedding_route))
    return given


def revoke(agent: Agent, kind: str, slug: str, *, by: Principal) -> None:
    """Take exactly this grant back: a collection's route stays granted, others may need it.

    Raises NotPermitted, ResourceUnknown, NotGranted.
    """
    by.require("admin")
    row = resources.row_of(kind, slug)
    if (kind, str(row.pk)) not in grants.of(agent.slug):
        raise NotGranted(agent=agent.slug, kind=kind, resource=slug)
    grants.revoke(agent.slug, row, by=by)


def of(agent: Agent) -> list[Grant]:
    """What the agent may use, by kind and slug."""
    held = grants.of(agent.slug)
    found = []
    for kind, model in KINDS.items():
        keys = [key for of_kind, key in held if of_kind == kind]
        found += [Grant(kind, slug) for slug in _slugs(model, keys)]
    return sorted(found)


def _slugs(model: type[models.Model], keys: list[str]) -> list[str]:
    rows = model._default_manager.filter(pk__in=keys)  # noqa: SLF001  (Django's documented name)
    return list(rows.values_list("slug", flat=True))
