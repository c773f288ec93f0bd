"""Finding the passage that answers."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
import psycopg
import pytest
from cast import Cast
from django.db import ProgrammingError, connection, transaction
from retrieval_corpus import PRIVACY, QUESTIONS
from searching import ask, searching

from audit.ids import new_id
from governance import permits
from retrieval import bm25, collections, documents, ingestion, search, vectors
from retrieval.embedding import Embed, EmbeddingMismatch, Vectors
from retrieval.filtering import EVERYTHING, Filters
from retrieval.models import Collection, Document, Passage
from retrieval.queries import CollectionUnknown
from tenants import isolation


def _texts(ids: list[UUID]) -> list[str]:
    passages = Passage.objects.in_bulk(ids)
    return [passages[each].text for each in ids]


@pytest.mark.parametrize(("question", "answer"), QUESTIONS)
def test_the_passage_that_answers_comes_first(
    acme: Cast, handbook: Collection, embed: Embed, question: str, answer: str
) -> None:
    assert answer in ask(handbook, question, embed)[0].text


def test_both_halves_together_find_what_each_alone_ranks_lower(
    acme: Cast, handbook: Collection, embed: Embed
) -> None:
    handbook.refresh_from_db()

    def reciprocal_ranks(half: str) -> float:
        return sum(_reciprocal_rank(half, handbook, embed, *pair) for pair in QUESTIONS)

    hybrid = reciprocal_ranks("hybrid")
    assert hybrid > reciprocal_ranks("semantic")
    assert hybrid > reciprocal_ranks("lexical")


def _reciprocal_rank(
    half: str, collection: Collection, embed: Embed, question: str, answer: str
) -> float:
    if half == "hybrid":
        texts = [found.text for found in ask(collection, question, embed, limit=20)]
    elif half == "semantic":
        vector = embed([question]).vectors[0]
        texts = _texts(vectors.rank(collection, vector, filters=EVERYTHING, limit=20))
    else:
        texts = _texts(bm25.rank(collection, question, filters=EVERYTHING, limit=20))
    return next((1 / n for n, text in enumerate(texts, start=1) if answer in text), 0)


def test_a_question_needs_not_have_all_its_words_in_one_passage(
    acme: Cast, handbook: Collection
) -> None:
    question = "Does the warranty of my grandmother's toaster cover water damage?"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM retrieval_passage WHERE to_tsvector('english', text)"
            " @@ websearch_to_tsquery('english', %s)",
            [question],
        )
        assert cursor.fetchone() == (0,)
    found = _texts(bm25.rank(handbook, question, filters=EVERYTHING, limit=3))
    assert "water" in found[0]


def test_words_are_compared_in_the_collections_language(
    acme: Cast, embed: Embed, now: datetime
) -> None:
    laden = collections.create(
        "laden", name="Laden", embedding_route="e", by=acme.alice, now=now, language="german"
    )
    made = documents.upload(
        laden, "a.txt", "Rücksendungen sind kostenlos.".encode(), by=acme.dave, now=now
    )
    ingestion.ingest(made.pk, embed=embed, now=now)
    assert bm25.rank(laden, "eine Rücksendung", filters=EVERYTHING, limit=3)


def test_results_cite_document_heading_and_verbatim_sentence(
    acme: Cast, handbook: Collection, embed: Embed
) -> None:
    found = ask(handbook, "What amount may a clerk refund alone?", embed)[0]
    citation = found.citation
    assert citation.label == "Returns handbook, Returns > Refunds > Limits"
    assert citation.quote == "A desk clerk may refund up to 50 EUR alone."
    assert citation.quote in found.text
    assert (citation.document, citation.passage) == (found.document.pk, found.passage.pk)


def test_a_removed_document_is_found_no_more(
    acme: Cast, handbook: Collection, embed: Embed
) -> None:
    question = "What does GC-2210 mean?"
    first = ask(handbook, question, embed)[0].document
    documents.remove(first, by=acme.dave)
    assert first.pk not in {found.document.pk for found in ask(handbook, question, embed, limit=50)}


def test_scores_after_a_removal_are_those_of_a_collection_that_never_had_it(
    acme: Cast, handbook: Collection, now: datetime, embed: Embed
) -> None:
    question = "How long do you keep order data?"
    before = bm25.rank(handbook, question, filters=EVERYTHING, limit=20)
    text = "# Orders\n" + "Order data about orders. Keep order data long.\n\n" * 30
    made = documents.upload(handbook, "noise.md", text.encode(), by=acme.dave, now=now)
    ingestion.ingest(made.pk, embed=embed, now=now)
    assert bm25.rank(handbook, question, filters=EVERYTHING, limit=20) != before
    documents.remove(made, by=acme.dave)
    assert bm25.rank(handbook, question, filters=EVERYTHING, limit=20) == before


def test_filters_choose_by_metadata_and_document(
    acme: Cast, handbook: Collection, embed: Embed, now: datetime
) -> None:
    made = documents.upload(
        handbook,
        "old.txt",
        PRIVACY.replace("ten", "six").encode(),
        by=acme.dave,
        now=now,
        metadata={"year": 2019, "draft": True},
    )
    ingestion.ingest(made.pk, embed=embed, now=now)
    question = "How long do you keep order data?"
    for filters in (
        Filters(metadata={"year": 2019}),
        Filters(metadata={"year": 2019, "draft": True}),
        Filters(documents=[made.pk]),
    ):
        found = ask(handbook, question, embed, filters=filters, limit=20)
        assert {each.document.pk for each in found} == {made.pk}
    for filters in (
        Filters(metadata={"year": "2019"}),
        Filters(metadata={"year": 2019, "draft": False}),
        Filters(documents=[]),
    ):
        assert ask(handbook, question, embed, filters=filters) == []


def test_another_collections_passages_are_not_found(
    acme: Cast, handbook: Collection, embed: Embed, now: datetime
) -> None:
    other = collections.create("other", name="O", embedding_route="e", by=acme.alice, now=now)
    assert ask(other, "return window", embed) == []
    made = documents.upload(other, "a.txt", b"Cats sleep a lot.", by=acme.dave, now=now)
    ingestion.ingest(made.pk, embed=embed, now=now)
    found = ask(other, "return window", embed)
    assert [each.text for each in found] == ["Cats sleep a lot."]


def test_a_search_with_another_model_is_refused(acme: Cast, handbook: Collection) -> None:
    for model, version, size in [("other", "l2-256", 256), ("wordllama", "2", 256)]:
        answer = Vectors([[0.5] * size], model, version, size)
        with pytest.raises(EmbeddingMismatch) as refused:
            ask(handbook, "anything", lambda _, answer=answer: answer)
        assert refused.value.status == 409


def test_vectors_of_another_size_are_searched_without_the_index(
    acme: Cast, shop: Collection, now: datetime
) -> None:
    def tiny(texts: list[str]) -> Vectors:
        made = [[1.0, float("cat" in text), float("dog" in text)] for text in texts]
        return Vectors(made, "tiny", "1", 3)

    for name in ("cat", "dog"):
        made = documents.upload(shop, f"{name}.txt", f"A {name}.".encode(), by=acme.dave, now=now)
        assert ingestion.ingest(made.pk, embed=tiny, now=now).state == "ready"
    shop.refresh_from_db()
    ranked = vectors.rank(shop, [1.0, 0.0, 1.0], filters=EVERYTHING, limit=2)
    assert _texts(ranked) == ["A dog.", "A cat."]


def test_the_semantic_half_can_use_its_index(acme: Cast, handbook: Collection) -> None:
    handbook.refresh_from_db()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        cursor.execute(
            "EXPLAIN " + vectors._NEAREST_INDEXED,
            {
                **EVERYTHING.parameters(),
                "collection": handbook.pk,
                "vector": str([0.1] * 256),
                "limit": 5,
            },
        )
        assert "passage_embedding_256" in str(cursor.fetchall())


@pytest.mark.parametrize("query", ["", "  \n", "\x00", "x" * 4_001])
def test_a_query_without_words_or_without_end_is_refused(
    acme: Cast, handbook: Collection, embed: Embed, query: str
) -> None:
    with pytest.raises(search.QueryMalformed):
        ask(handbook, query, embed)


@pytest.mark.parametrize("query", ["the of and", "???", "' OR 1=1; --", "a:* & !b", "日本"])
def test_a_strange_query_breaks_nothing(
    acme: Cast, handbook: Collection, embed: Embed, query: str
) -> None:
    assert isinstance(ask(handbook, query, embed), list)


def test_a_permit_is_used_once_and_for_its_own_search(
    acme: Cast, handbook: Collection, embed: Embed
) -> None:
    intent = searching("shop", "return window")
    permit = permits.mint(intent, new_id())
    other = searching("shop", "something else")
    with pytest.raises(permits.PermitMismatch):
        search.find(handbook, "something else", embed=embed, permit=permit, intent=other)
    with pytest.raises(search.IntentMismatch):
        search.find(handbook, "something else", embed=embed, permit=permit, intent=intent)
    assert search.find(handbook, "return window", embed=embed, permit=permit, intent=intent)
    with pytest.raises(permits.PermitSpent):
        search.find(handbook, "return window", embed=embed, permit=permit, intent=intent)


def test_a_permit_for_one_collection_or_tenant_opens_no_other(
    acme: Cast, handbook: Collection, embed: Embed
) -> None:
    with pytest.raises(search.IntentMismatch):
        ask(handbook, "return window", embed, tenant="globex")
    intent = searching("other", "return window")
    with pytest.raises(search.IntentMismatch):
        search.find(
            handbook,
            "return window",
            embed=embed,
            permit=permits.mint(intent, new_id()),
            intent=intent,
        )


def test_a_tenant_finds_nothing_of_anothers_even_with_a_row_in_hand(
    acme: Cast, globex: Cast, handbook: Collection, embed: Embed
) -> None:
    with isolation.acting_for(globex.tenant):
        assert not Passage.objects.exists()
        with pytest.raises(CollectionUnknown):
            ask(handbook, "return window", embed, tenant="globex")
        assert bm25.rank(handbook, "return window", filters=EVERYTHING, limit=9) == []


@pytest.mark.parametrize("table", ["passage", "document", "posting", "collection"])
def test_raw_sql_meets_permission_denied_in_another_tenants_schema(
    acme: Cast, globex: Cast, handbook: Collection, table: str
) -> None:
    assert Document.objects.exists()
    statement = f"SELECT count(*) FROM {acme.tenant.schema_name}.retrieval_{table}"  # noqa: S608
    with (
        isolation.acting_for(globex.tenant),
        pytest.raises(ProgrammingError) as denied,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert isinstance(denied.value.__cause__, psycopg.errors.InsufficientPrivilege)


def test_a_permit_to_search_one_document_does_not_open_the_whole_collection(
    handbook: Collection, embed: Embed
) -> None:
    narrow = Filters(documents=[new_id()])
    arguments = {"query": "order data", "limit": 5, "filters": narrow.as_json()}
    intent = msgspec.structs.replace(searching("handbook", "order data"), arguments=arguments)
    permit = permits.mint(intent, new_id())
    with pytest.raises(search.IntentMismatch):
        search.find(handbook, "order data", embed=embed, permit=permit, intent=intent, limit=5)
