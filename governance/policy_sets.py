"""The only place that changes a tenant's policies and knows which version is in force."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from django.db import transaction

from audit import ledger, outside
from audit.errors import Problem
from audit.events import SYSTEM, Actor
from governance import policies
from governance.events import PolicyActivated
from governance.models import PolicySet
from governance.policies import DEFAULT_POLICY, CompiledPolicies
from governance.schemas import JsonSchema, schema_for
from tenants import configuration
from tenants.principals import Principal

Tools = Callable[[], Mapping[str, JsonSchema]]
"""Reads the JSON Schema of the arguments of each of the tenant's tools, by the tool's slug.

It is called once nobody else can change the policies or fit them to other tools, so MUST read.
"""


class PolicyMoved(Problem):
    """The text was written on version {based_on} of the policies, and {current} is in force."""

    code = "policy_moved"
    status = 409


@transaction.atomic
def begin(now: datetime) -> PolicySet:
    """Gives a new tenant, which has no tools yet, the default policies; again: changes nothing."""
    current = _locked()
    if current is not None:
        return current
    return _activate(DEFAULT_POLICY, schema_for({}), actor=SYSTEM, cause="begun", now=now)


@transaction.atomic
def save(
    text: str, *, tools: Tools, by: Principal, now: datetime, based_on: int | None = None
) -> PolicySet:
    """Puts `text` into force as a new version.

    `based_on` is the version that its author had before them; None replaces whichever is in force.
    Raises `PolicyMoved` where another one is in force now, `PolicyInvalid`, and `NotPermitted`
    (only an admin sets policies). A policy that asks for a cosignature needs a witness.
    """
    by.require("admin")
    current = _locked()
    version = current.version if current else None
    if based_on not in (None, version):
        raise PolicyMoved(based_on=based_on, current=version)
    schema = schema_for(tools())
    policies.compile(text, schema, is_witnessed=bool(outside.configured_witnesses()))
    return _activate(text, schema, actor=by.actor, cause="saved", now=now)


@transaction.atomic
def refit(*, tools: Tools, by: Principal, now: datetime) -> PolicySet:
    """Fits the policies in force to changed tools, as a new version of the same text.

    To be called in the transaction that changes a tool, after the change. Raises `PolicyInvalid`
    where the policies rely on what it takes away: then the tool can't be changed so.
    """
    current = _locked()
    if current is None:
        raise PolicySet.DoesNotExist
    schema = schema_for(tools())
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


def _locked() -> PolicySet | None:
    """The version in force, locked until the transaction ends; None in a tenant that has none.

    Whoever changes the policies holds it before they read text or tools: what they read
    can't be overtaken.
    """
    in_force = PolicySet.objects.filter(active=True)
    while True:
        found = in_force.select_for_update().first()
        # Whoever waited for a version that was retired meanwhile is given nothing by PostgreSQL.
        if found is not None or not in_force.exists():
            return found


def _activate(text: str, schema: str, *, actor: Actor, cause: str, now: datetime) -> PolicySet:
    """1. validate; 2. retire the version in force, which the caller locked; 3. insert;
    4. record; 5. tell."""
    compiled = policies.compile(text, schema)
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
