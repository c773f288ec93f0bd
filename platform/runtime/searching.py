"""The only place where a member or a client app searches a collection: decided and recorded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from audit import canonical, ledger
from audit.errors import Problem
from audit.events import Event
from governance import decisions
from governance.decisions import Allowed, Held
from governance.intents import SearchCollection
from retrieval import search
from retrieval.filtering import EVERYTHING, Filters
from retrieval.models import Collection
from retrieval.search import Found
from runtime import embedding, resources
from runtime.embedding import Asker
from runtime.events import EffectBegun, EffectEnded, EffectFailed
from tenants import isolation
from tenants.principals import Principal


class SearchDenied(Problem):
    """The collection {collection} may not be searched so: {reason}"""

    code = "search_denied"
    status = 403


class SearchHeld(Problem):
    """The search of {collection} waits for the approval {approval}. Search again once given."""

    code = "search_held"
    status = 409


def find(
    collection: Collection,
    query: str,
    *,
    by: Principal,
    now: datetime,
    limit: int = search.DEFAULT_LIMIT,
    filters: Filters = EVERYTHING,
) -> list[Found]:
    """The best passages for `query`, best first. MUST NOT be called in a transaction.

    1. The decision and the beginning are committed. 2. The query is embedded, a governed model
    call of its own, and the index read. 3. What came of it is recorded.
    Raises SearchDenied, SearchHeld, EmbeddingDenied, QueryMalformed and the gateway's problems.
    """
    intent = SearchCollection(
        tenant=isolation.current().slug,
        principal_kind=by.kind,
        principal=by.id,
        resource=collection.slug,
        arguments={"query": query, "limit": limit},
    )
    decision = _begin(intent, by, now)
    embed = embedding.through(collection.embedding_route, Asker(principal=by, now=now))
    try:
        found = search.find(
            collection,
            query,
            embed=embed,
            permit=decision.permit,
            intent=intent,
            limit=limit,
            filters=filters,
        )
    except Problem as problem:
        _record(EffectFailed(code=problem.code, **_names(intent)), by)
        raise
    shown = [str(hit.passage.pk) for hit in found]
    _record(EffectEnded(outcome_sha256=canonical.digest(shown), **_names(intent)), by)
    return found


def _begin(intent: SearchCollection, by: Principal, now: datetime) -> Allowed:
    with transaction.atomic():
        decision = decisions.decide(
            intent, principal=by, resource=resources.asked_for(intent), author=None, now=now
        )
        if isinstance(decision, Allowed):
            _record(EffectBegun(**_names(intent)), by)
            return decision
    if isinstance(decision, Held):
        raise SearchHeld(collection=intent.resource, approval=str(decision.approval.pk))
    raise SearchDenied(collection=intent.resource, reason=decision.reason)


def _names(intent: SearchCollection) -> dict[str, Any]:
    return {"digest": intent.digest, "action": intent.action, "resource": intent.resource}


def _record(event: Event, by: Principal) -> None:
    with transaction.atomic():
        ledger.record(event, actor=by.actor)
