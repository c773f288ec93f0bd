"""The only place where a member or a client app searches a collection: decided and recorded."""

from __future__ import annotations

from datetime import datetime

from audit import canonical
from audit.errors import Problem
from audit.ids import new_id
from governance.decisions import Denied, Held
from governance.intents import SearchCollection
from governance.permits import Permit
from retrieval import search
from retrieval.events import CollectionSearched
from retrieval.filtering import EVERYTHING, Filters
from retrieval.models import Collection
from retrieval.queries import DEFAULT_LIMIT
from retrieval.search import Found
from runtime import acts, embedding
from runtime.acts import Act, Done
from runtime.embedding import Asker
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
    limit: int = DEFAULT_LIMIT,
    filters: Filters = EVERYTHING,
) -> list[Found]:
    """The best passages for `query`, best first. MUST NOT be called in a transaction.

    1. The decision and the beginning are committed. 2. The query is embedded, a governed model
    call of its own, and the index read. 3. What came of it is recorded.
    Raises SearchDenied, SearchHeld, EmbeddingDenied, QueryMalformed, LedgerBehind and the
    gateway's problems.
    """
    intent = SearchCollection(
        tenant=isolation.current().slug,
        principal_kind=by.kind,
        principal=by.id,
        resource=collection.slug,
        arguments={"query": query, "limit": limit, "filters": filters.as_json()},
    )
    act = Act(
        intent=intent, principal=by, authors=None, correlation=new_id(), now=now, may_hold=True
    )
    begun = acts.begin(act)
    if isinstance(begun, Held):
        raise SearchHeld(collection=intent.resource, approval=str(begun.approval.pk))
    if isinstance(begun, Denied):
        raise SearchDenied(collection=intent.resource, reason=begun.reason)
    decision = str(begun.allowed.decision_id)
    asker = Asker(principal=by, correlation=act.correlation, now=now)

    def look(permit: Permit) -> tuple[list[Found], Done]:
        found = search.find(
            collection,
            query,
            embed=embedding.through(collection, asker),
            permit=permit,
            intent=intent,
            limit=limit,
            filters=filters,
        )
        event = CollectionSearched(
            collection=collection.slug,
            decision=decision,
            sources=[hit.source for hit in found],
        )
        return found, Done(canonical.digest([str(hit.passage.pk) for hit in found]), (event,))

    return acts.perform(act, begun, look)
