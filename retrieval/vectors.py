"""The only place for the semantic half of search: nearest vectors, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from retrieval.filtering import Filters
from retrieval.models import INDEXED_DIMENSIONS, Collection

# The statement must repeat the index's expression and condition, or PostgreSQL cannot use it.
_NEAREST_INDEXED = """
SELECT passage.id, passage.embedding::vector(256) <=> %(vector)s::vector(256) AS distance
FROM retrieval_passage AS passage
JOIN retrieval_document AS document ON document.id = passage.document_id
WHERE passage.collection_id = %(collection)s AND passage.dimensions = 256
  AND document.metadata @> %(metadata)s::jsonb
  AND (%(documents)s::uuid[] IS NULL OR document.id = ANY (%(documents)s::uuid[]))
ORDER BY passage.embedding::vector(256) <=> %(vector)s::vector(256)
LIMIT %(limit)s
"""
_NEAREST = """
SELECT passage.id, passage.embedding <=> %(vector)s::vector AS distance
FROM retrieval_passage AS passage
JOIN retrieval_document AS document ON document.id = passage.document_id
WHERE passage.collection_id = %(collection)s AND passage.dimensions = %(dimensions)s
  AND document.metadata @> %(metadata)s::jsonb
  AND (%(documents)s::uuid[] IS NULL OR document.id = ANY (%(documents)s::uuid[]))
ORDER BY passage.embedding <=> %(vector)s::vector
LIMIT %(limit)s
"""
# An index scan that meets other collections' passages, or filtered ones, goes on instead of
# coming back with too few (pgvector 0.8). Both settings end with the transaction.
_SCAN_ON = """
SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),
       set_config('hnsw.ef_search', %(ef_search)s, true)
"""


def rank(
    collection: Collection, vector: Sequence[float], *, filters: Filters, limit: int
) -> list[UUID]:
    """The ids of the passages nearest to `vector` (by cosine), nearest first.

    In the caller's transaction. A vector of zeros points nowhere and is near to nothing.
    """
    if not any(vector):
        return []
    statement = _NEAREST_INDEXED if len(vector) == INDEXED_DIMENSIONS else _NEAREST
    given = {
        **filters.parameters(),
        "collection": collection.pk,
        "dimensions": len(vector),
        "vector": "[" + ",".join(map(repr, map(float, vector))) + "]",
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SCAN_ON, {"ef_search": str(max(limit, 40))})
        cursor.execute(statement, given)
        found = [(distance, passage) for passage, distance in cursor.fetchall()]
    return [passage for _, passage in sorted(found)]  # ties by id, and relaxed order made strict
