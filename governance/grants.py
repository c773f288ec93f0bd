"""The only place that gives an agent a tool, a route or a collection to use, and takes it back."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import models, transaction
from django.db.models import QuerySet
from guardian.models import GroupObjectPermission
from guardian.shortcuts import assign_perm, remove_perm

from audit import ledger
from governance.events import GrantGiven, GrantRevoked
from governance.resources import Resource
from tenants import configuration
from tenants.principals import Principal

PERMISSION = "invoke"


@transaction.atomic
def grant(agent: str, resource: models.Model, *, by: Principal) -> None:
    """Lets the agent with the slug `agent` use `resource` (a Tool, Route or Collection row).

    Granting twice changes nothing. Raises `NotPermitted`: only an admin grants, since a granted
    read runs without anybody being asked.
    """
    by.require("admin")
    group, _ = Group.objects.get_or_create(name=_group_name(agent))
    if _rows(agent, type(resource).__name__, str(resource.pk)).exists():
        return
    assign_perm(PERMISSION, group, resource)
    kind, slug = _names(resource)
    given = _rows(agent, kind, str(resource.pk)).get()
    entry = GrantGiven(grant=str(given.pk), agent=agent, resource_kind=kind, resource=slug)
    ledger.record(entry, actor=by.actor)
    configuration.touch()


@transaction.atomic
def revoke(agent: str, resource: models.Model, *, by: Principal) -> None:
    """Takes the grant back; nothing happens where there is none. Raises `NotPermitted`."""
    by.require("admin")
    kind, slug = _names(resource)
    given = _rows(agent, kind, str(resource.pk)).first()
    if given is None:
        return
    entry = GrantRevoked(grant=str(given.pk), agent=agent, resource_kind=kind, resource=slug)
    remove_perm(PERMISSION, Group.objects.get(name=_group_name(agent)), resource)
    ledger.record(entry, actor=by.actor)
    configuration.touch()


def of(agent: str) -> set[tuple[str, str]]:
    """What the agent was granted: (kind in lower case, primary key) of each resource."""
    rows = _of(agent).values_list("content_type__model", "object_pk")
    return set(rows)


def find(agent: str, resource: Resource) -> str | None:
    """The id of the grant by which the agent may use `resource`; None where there is none."""
    found = _rows(agent, resource.kind, resource.pk).values_list("pk", flat=True).first()
    return None if found is None else str(found)


def _of(agent: str) -> QuerySet[GroupObjectPermission]:
    return GroupObjectPermission.objects.filter(
        group__name=_group_name(agent), permission__codename=PERMISSION
    )


def _rows(agent: str, kind: str, pk: str) -> QuerySet[GroupObjectPermission]:
    return _of(agent).filter(content_type__model=kind.lower(), object_pk=pk)


def _group_name(agent: str) -> str:
    return f"agent:{agent}"


def _names(resource: models.Model) -> tuple[str, str]:
    return type(resource).__name__, str(getattr(resource, "slug", resource.pk))
