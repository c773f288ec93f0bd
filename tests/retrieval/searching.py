"""The only place that asks a collection in the tests, as acme's agent would."""

from __future__ import annotations

import msgspec

from audit.ids import new_id
from governance import permits
from governance.intents import SearchCollection
from retrieval import search
from retrieval.embedding import Embed
from retrieval.filtering import EVERYTHING, Filters
from retrieval.models import Collection
from retrieval.search import Found


def ask(
    collection: Collection,
    query: str,
    embed: Embed,
    *,
    tenant: str = "acme",
    limit: int = 5,
    filters: Filters = EVERYTHING,
) -> list[Found]:
    """Search with a permit that was minted for it."""
    named = searching(collection.slug, query, tenant=tenant)
    asked = {"query": query, "limit": limit, "filters": filters.as_json()}
    intent = msgspec.structs.replace(named, arguments=asked)
    permit = permits.mint(intent, new_id())
    return search.find(
        collection, query, embed=embed, permit=permit, intent=intent, limit=limit, filters=filters
    )


def searching(collection: str, query: str, *, tenant: str = "acme") -> SearchCollection:
    """The intent of acme's agent to search."""
    return SearchCollection(
        tenant=tenant,
        principal_kind="agent",
        principal="refund-desk",
        resource=collection,
        arguments={"query": query},
    )
