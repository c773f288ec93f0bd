"""The only place that changes a tenant's policies and knows which version is in force."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from django.db import transaction

from audit import ledger
from audit.events import SYSTEM, Actor
from governance import policies
from governance.events import PolicyActivated
from governance.models import PolicySet
from governance.policies import DEFAULT_POLICY, CompiledPolicies
from governance.schemas import JsonSchema, schema_for
from tenants import configuration
from tenants.principals import Principal

Tools = Mapping[str, JsonSchema]


@transaction.atomic
def begin(now: datetime) -> PolicySet:
    """Gives a new tenant, which has no tools yet, the default policies; again: changes nothing."""
    current = PolicySet.objects.filter(active=True).first()
    if current is not None:
        return current
    return _activate(DEFAULT_POLICY, schema_for({}), actor=SYSTEM, cause="begun", now=now)


@transaction.atomic
def save(text: str, *, tools: Tools, by: Principal, now: datetime) -> PolicySet:
    """Puts `text` into force as a new version.

    `tools` maps the slug of each of the tenant's tools to the JSON Schema of its arguments.
    Raises `PolicyInvalid` and `NotPermitted` (only an admin sets policies).
    """
    by.require("admin")
    return _activate(text, schema_for(tools), actor=by.actor, cause="saved", now=now)


@transaction.atomic
def refit(*, tools: Tools, by: Principal, now: datetime) -> PolicySet:
    """Fits the policies in force to changed tools, as a new version of the same text.

    To be called in the transaction that changes a tool. Raises `PolicyInvalid` where the
    policies rely on what the change takes away: then the tool can't be changed so.
    """
    current = PolicySet.objects.get(active=True)
    schema = schema_for(tools)
    if schema == current.schema:
        return current
    return _activate(current.text, schema, actor=by.actor, cause="refitted", now=now)


def active() -> CompiledPolicies | None:
    """The policies in force, compiled; None denies everything."""
    row = PolicySet.objects.filter(active=True).values_list("id", flat=True).first()
    return None if row is None else _compiled(row)


@lru_cache(maxsize=1024)
def _compiled(policy_set: UUID) -> CompiledPolicies:
    # The id stands for tenant, version, text and schema at once: ids are unique over all
    # tenants and a version is never changed.
    row = PolicySet.objects.get(pk=policy_set)
    return policies.compile(row.text, row.schema, version=row.version)


def _activate(text: str, schema: str, *, actor: Actor, cause: str, now: datetime) -> PolicySet:
    """1. validate; 2. lock and retire the version in force; 3. insert; 4. record; 5. tell."""
    compiled = policies.compile(text, schema)
    PolicySet.objects.select_for_update().filter(active=True).first()
    latest = PolicySet.objects.order_by("-version").values_list("version", flat=True).first()
    PolicySet.objects.filter(active=True).update(active=False)
    policy_set = PolicySet.objects.create(
        version=(latest or 0) + 1,
        text=text,
        sha256=compiled.sha256,
        schema=schema,
        author=actor.id,
        active=True,
        created_at=now,
    )
    entry = PolicyActivated(
        version=policy_set.version,
        sha256=compiled.sha256,
        schema_sha256=hashlib.sha256(schema.encode()).hexdigest(),
        cause=cause,
    )
    ledger.record(entry, actor=actor)
    configuration.touch()
    return policy_set
