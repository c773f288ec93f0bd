"""Making documents searchable: all of a document, once, or nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

import document_samples as samples
import pytest
from cast import NOON, Cast
from django.db import connection
from retrieval_corpus import RETURNS, WARRANTY
from searching import ask

from audit.errors import Problem
from retrieval import documents, ingestion, queries
from retrieval.embedding import Embed, Vectors
from retrieval.models import Collection, Document, Passage, Posting
from tenants import isolation


class ProviderDown(Problem):
    """The provider does not answer."""

    code = "provider_down_in_test"
    status = 502


def _down(texts: list[str]) -> Vectors:
    raise ProviderDown


def _count_calls(embed: Embed, calls: list[str]) -> Embed:
    def counting(texts: list[str]) -> Vectors:
        calls.extend(texts)
        return embed(texts)

    return counting


def _kinds() -> list[str]:
    """What acme's ledger says of documents, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind FROM audit.entry WHERE kind LIKE 'document.%%' ORDER BY id")
        return [kind for (kind,) in cursor.fetchall()]


def test_a_ready_document_has_passages_postings_and_an_entry(
    acme: Cast, shop: Collection, embed: Embed, now: datetime
) -> None:
    before = len(_kinds())
    made = documents.upload(shop, "returns.md", RETURNS.encode(), by=acme.dave, now=now)
    ready = ingestion.ingest(made.pk, embed=embed, now=now)
    assert (ready.state, ready.ingested_at) == ("ready", now)
    passages = list(queries.passages_of(ready))
    assert [passage.ordinal for passage in passages] == list(range(1, len(passages) + 1))
    assert Posting.objects.filter(lexeme="refund").exists()
    assert _kinds()[before:] == ["document.uploaded", "document.ingested"]


def test_the_first_document_decides_on_the_collections_model(
    acme: Cast, handbook: Collection
) -> None:
    handbook.refresh_from_db()
    assert (handbook.embedding_model, handbook.dimensions) == ("wordllama", 256)


def test_ingesting_twice_changes_nothing(
    acme: Cast, shop: Collection, embed: Embed, now: datetime
) -> None:
    made = documents.upload(shop, "returns.md", RETURNS.encode(), by=acme.dave, now=now)
    ingestion.ingest(made.pk, embed=embed, now=now)
    passages = set(Passage.objects.values_list("pk", flat=True))
    calls: list[str] = []
    ingestion.ingest(made.pk, embed=_count_calls(embed, calls), now=now)
    assert set(Passage.objects.values_list("pk", flat=True)) == passages
    assert not calls


def test_identical_passages_are_embedded_once(
    acme: Cast, shop: Collection, embed: Embed, now: datetime
) -> None:
    calls: list[str] = []
    counting = _count_calls(embed, calls)
    for title, text in [("a.md", RETURNS + RETURNS), ("b.md", RETURNS + "\n"), ("c.md", WARRANTY)]:
        made = documents.upload(shop, title, text.encode(), by=acme.dave, now=now)
        assert ingestion.ingest(made.pk, embed=counting, now=now).state == "ready"
    assert len(calls) == len(set(calls)) < Passage.objects.count()


def test_a_search_shows_the_same_text_once(
    acme: Cast, shop: Collection, embed: Embed, now: datetime
) -> None:
    for title, text in [("a.md", RETURNS), ("b.md", RETURNS + "\n")]:
        made = documents.upload(shop, title, text.encode(), by=acme.dave, now=now)
        ingestion.ingest(made.pk, embed=embed, now=now)
    texts = [found.text for found in ask(shop, "return window", embed, limit=10)]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize(
    ("filename", "content", "code"),
    [
        ("a.pdf", b"%PDF-1.7 broken", "document_corrupt"),
        ("a.pdf", samples.encrypted_pdf(password="x"), "document_encrypted"),
        ("a.pdf", samples.pdf([]), "document_empty"),
        ("a.docx", samples.bomb, "document_expands_too_far"),
        ("a.docx", samples.docx_with(word__document=samples.ENTITY_BOMB), "document_corrupt"),
    ],
)
def test_a_bad_document_fails_with_its_code_and_an_entry(
    acme: Cast, shop: Collection, filename: str, content: Any, code: str
) -> None:
    made_now = content() if callable(content) else content  # a large one where it is needed alone
    made = documents.upload(shop, filename, made_now, by=acme.dave, now=NOON)
    failed = ingestion.ingest(made.pk, embed=_down, now=NOON)
    assert (failed.state, failed.error_code) == ("failed", code)
    assert failed.error_message
    assert _kinds()[-1] == "document.failed"
    assert not Passage.objects.exists()


def test_what_failed_for_a_provider_can_be_ingested_later(
    acme: Cast, shop: Collection, embed: Embed, now: datetime
) -> None:
    made = documents.upload(shop, "returns.md", RETURNS.encode(), by=acme.dave, now=now)
    failed = ingestion.ingest(made.pk, embed=_down, now=now)
    assert failed.error_code == "provider_down_in_test"
    ready = ingestion.ingest(made.pk, embed=embed, now=now)
    assert (ready.state, ready.error_code, ready.error_message) == ("ready", "", "")


def test_a_document_of_another_model_is_refused_whole(
    acme: Cast, handbook: Collection, now: datetime
) -> None:
    def other(texts: list[str]) -> Vectors:
        return Vectors([[1.0] * 256 for _ in texts], "other", "1", 256)

    made = documents.upload(handbook, "new.txt", b"Something new.", by=acme.dave, now=now)
    failed = ingestion.ingest(made.pk, embed=other, now=now)
    assert failed.error_code == "embedding_mismatch"
    assert not Passage.objects.filter(document=made).exists()


@pytest.mark.parametrize(
    "answer",
    [
        Vectors([], "m", "1", 2),
        Vectors([[1.0]], "m", "1", 2),
        Vectors([[float("nan"), 1.0]], "m", "1", 2),
    ],
)
def test_a_model_that_answers_nonsense_fails_the_document(
    acme: Cast, shop: Collection, now: datetime, answer: Vectors
) -> None:
    made = documents.upload(shop, "a.txt", b"One text.", by=acme.dave, now=now)
    failed = ingestion.ingest(made.pk, embed=lambda _: answer, now=now)
    assert failed.error_code == "embedding_malformed"


def test_a_failure_while_storing_leaves_nothing_half_done(
    acme: Cast, shop: Collection, embed: Embed, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ProviderDown

    monkeypatch.setattr("retrieval.bm25.index", broken)
    made = documents.upload(shop, "returns.md", RETURNS.encode(), by=acme.dave, now=now)
    assert ingestion.ingest(made.pk, embed=embed, now=now).state == "failed"
    assert not Passage.objects.exists()
    shop.refresh_from_db()
    assert shop.embedding_model == ""


def test_an_unknown_document_cannot_be_ingested(acme: Cast, embed: Embed, now: datetime) -> None:
    with pytest.raises(queries.DocumentUnknown):
        ingestion.ingest(uuid4(), embed=embed, now=now)


def test_a_document_removed_while_it_was_embedded_stays_removed(
    acme: Cast, shop: Collection, embed: Embed, now: datetime
) -> None:
    made = documents.upload(shop, "returns.md", RETURNS.encode(), by=acme.dave, now=now)

    def removing(texts: list[str]) -> Vectors:
        documents.remove(made, by=acme.dave)
        return embed(texts)

    with pytest.raises(queries.DocumentUnknown):
        ingestion.ingest(made.pk, embed=removing, now=now)
    assert not Document.objects.exists()
    assert _kinds()[-1] == "document.removed"


def test_another_tenants_document_cannot_be_ingested(
    acme: Cast, globex: Cast, shop: Collection, embed: Embed, now: datetime
) -> None:
    made = documents.upload(shop, "returns.md", RETURNS.encode(), by=acme.dave, now=now)
    with isolation.acting_for(globex.tenant), pytest.raises(queries.DocumentUnknown):
        ingestion.ingest(made.pk, embed=embed, now=now)
