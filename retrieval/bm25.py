"""The only place for the lexical half of search: postings, and BM25 over them, in SQL."""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from retrieval.filtering import Filters
from retrieval.models import Collection, Document

K1 = 1.2
B = 0.75

# PostgreSQL's parser reads "F-0217" as the letter f and the number -217, so that a question for one
# code would match all of its kind. Without the hyphen it is one word.
_INDEX = r"""
INSERT INTO retrieval_posting (collection_id, lexeme, passage_id, occurrences)
SELECT passage.collection_id, word.lexeme, passage.id, cardinality(word.positions)
FROM retrieval_passage AS passage,
     unnest(to_tsvector(%(language)s::regconfig, regexp_replace(
         array_to_string(passage.headings, ' ') || ' ' || passage.text,
         '([[:alpha:]])-(?=[[:digit:]])', '\1', 'g'))) AS word
WHERE passage.document_id = %(document)s
"""

# OR semantics: a passage needs one of the words. With AND, a question in full sentences, most of
# whose words stand in no passage, would find nothing.
_RANK = r"""
WITH asked AS (
    SELECT lexeme FROM unnest(to_tsvector(%(language)s::regconfig, regexp_replace(
        %(query)s, '([[:alpha:]])-(?=[[:digit:]])', '\1', 'g')))
), whole AS (
    SELECT count(*)::float8 AS passages, avg(tokens)::float8 AS mean_tokens
    FROM retrieval_passage WHERE collection_id = %(collection)s
), hit AS (
    SELECT passage_id, occurrences::float8 AS occurrences,
           count(*) OVER (PARTITION BY lexeme)::float8 AS passages
    FROM retrieval_posting JOIN asked USING (lexeme)
    WHERE collection_id = %(collection)s
)
SELECT passage.id
FROM hit
JOIN retrieval_passage AS passage ON passage.id = hit.passage_id
JOIN retrieval_document AS document ON document.id = passage.document_id
CROSS JOIN whole
WHERE document.metadata @> %(metadata)s::jsonb
  AND (%(documents)s::uuid[] IS NULL OR document.id = ANY (%(documents)s::uuid[]))
GROUP BY passage.id
ORDER BY sum(
    ln(1 + (whole.passages - hit.passages + 0.5) / (hit.passages + 0.5))
    * hit.occurrences * (%(k1)s + 1)
    / (hit.occurrences + %(k1)s * (1 - %(b)s + %(b)s * passage.tokens / whole.mean_tokens))
) DESC, passage.id
LIMIT %(limit)s
"""


def index(document: Document, *, language: str) -> None:
    """Write the postings of the document's passages, in the caller's transaction.

    `language` names a text search configuration: which words to drop, how to stem the rest.
    """
    with connection.cursor() as cursor:
        cursor.execute(_INDEX, {"document": document.pk, "language": language})


def rank(collection: Collection, query: str, *, filters: Filters, limit: int) -> list[UUID]:
    """The ids of the best passages for the words of `query`, best first.

    BM25 (Robertson and Zaragoza 2009, 3.4) with the idf of Lucene, which is never negative. A
    passage's length is counted in tokens. Filters choose passages; how rare a word is, the whole
    collection says.
    """
    given = {
        **filters.parameters(),
        "collection": collection.pk,
        "language": collection.language,
        "query": query,
        "k1": K1,
        "b": B,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RANK, given)
        return [passage for (passage,) in cursor.fetchall()]
