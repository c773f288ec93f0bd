"""The only door to what documents say: it takes a permit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from audit.errors import Problem
from governance.intents import Intent, SearchCollection
from governance.permits import Permit
from retrieval import bm25, fusion, vectors
from retrieval.blocks import clean, one_line
from retrieval.citations import Citation, cite
from retrieval.embedding import Embed, embedded, require_match
from retrieval.filtering import EVERYTHING, Filters
from retrieval.models import Collection, Document, Passage
from retrieval.queries import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MAX_QUERY_CHARACTERS,
    CollectionUnknown,
)
from tenants import isolation

CANDIDATES = 60
"""How far down each half is read; deeper places weigh too little to matter."""


class QueryMalformed(Problem):
    """A search needs a query of 1 to 4,000 characters and a limit of 1 to 50."""

    code = "query_malformed"
    status = 422


class IntentMismatch(Problem):
    """The intent is not to search the collection {collection} for this query."""

    code = "intent_mismatch"
    status = 403


class Found(msgspec.Struct, frozen=True):
    """A passage with its document (without its bytes). `score` orders one search's results only."""

    passage: Passage
    document: Document
    score: float
    citation: Citation

    @property
    def text(self) -> str:
        """The passage's text."""
        return self.passage.text

    @property
    def source(self) -> dict[str, str]:
        """The passage as the ledger names it."""
        return {
            "passage": str(self.passage.pk),
            "sha256": hashlib.sha256(self.text.encode()).hexdigest(),
            "document": str(self.document.pk),
            "document_sha256": self.document.sha256,
        }


def find(
    collection: Collection,
    query: str,
    *,
    embed: Embed,
    permit: Permit,
    intent: Intent,
    limit: int = DEFAULT_LIMIT,
    filters: Filters = EVERYTHING,
) -> list[Found]:
    """The best passages of `collection` for `query`, best first, no text twice.

    1. The intent is for this tenant, this collection, this query and these filters, and the permit
    for the intent: it is spent. 2. `embed` makes the query's vector, outside of any transaction of
    ours. 3. Nearest vectors and BM25, fused. Raises `IntentMismatch`, `PermitMismatch`,
    `PermitSpent`, `QueryMalformed`, `CollectionUnknown`, `EmbeddingMismatch`, `EmbeddingMalformed`.
    """
    _require_intent(
        intent, collection, {"query": query, "limit": limit, "filters": filters.as_json()}
    )
    permit.spend(intent)
    words = one_line(clean(query))
    if not 0 < len(words) <= MAX_QUERY_CHARACTERS or not 0 < limit <= MAX_LIMIT:
        raise QueryMalformed
    indexed = Collection.objects.filter(pk=collection.pk).first()
    if indexed is None:
        raise CollectionUnknown(collection=collection.slug)
    if not indexed.embedding_model:
        return []
    asked = embedded([words], embed)
    require_match(indexed, asked)
    with transaction.atomic():
        ranked = fusion.fuse(
            vectors.rank(indexed, asked.vectors[0], filters=filters, limit=CANDIDATES),
            bm25.rank(indexed, words, filters=filters, limit=CANDIDATES),
        )
        return _found(ranked, words, limit)


def _require_intent(intent: Intent, collection: Collection, asked: dict[str, Any]) -> None:
    """A permit says that the intent was decided; this says that we do what the intent says.

    An agent's intent names a query alone: how much it is shown is the runtime's to say, and what
    it did not narrow down is not narrowed.
    """
    unsaid = {"limit": asked["limit"], "filters": EVERYTHING.as_json()}
    meant = (
        isinstance(intent, SearchCollection)
        and intent.tenant == isolation.current().slug
        and intent.resource == collection.slug
        and {**unsaid, **intent.arguments} == asked
    )
    if not meant:
        raise IntentMismatch(collection=collection.slug)


def _found(ranked: Sequence[tuple[UUID, float]], query: str, limit: int) -> list[Found]:
    passages = _by_id(passage for passage, _ in ranked)
    found: dict[str, Found] = {}
    for each, score in ranked:
        passage = passages.get(each)
        if passage is not None and len(found) < limit:
            document = passage.document
            citation = cite(passage, document, query=query)
            found.setdefault(passage.sha256, Found(passage, document, score, citation))
    return list(found.values())


def _by_id(ids: Iterable[UUID]) -> dict[UUID, Passage]:
    passages = Passage.objects.select_related("document").defer("embedding", "document__content")
    return passages.in_bulk(list(ids))
