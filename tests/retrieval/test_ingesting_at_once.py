"""Several workers with the same collection at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier

import pytest
from cast import Cast
from django.db import connection

from retrieval import collections, documents, ingestion, parsing, parsing_child
from retrieval.embedding import Embed, Vectors
from retrieval.models import Collection, Document, Passage
from tenants import isolation


@pytest.fixture
def committed_shop(
    committed_acme: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> Collection:
    """An empty collection that other connections see."""
    monkeypatch.setattr(parsing, "parse", parsing_child.parse)
    return collections.create(
        "shop", name="Shop", embedding_route="e", by=committed_acme.alice, now=now
    )


def _at_once(cast: Cast, *acts: Callable[[], Document]) -> list[str]:
    """The states that the acts end with, each on a connection of its own."""

    def act(each: Callable[[], Document]) -> str:
        try:
            with isolation.acting_for(cast.tenant):
                return str(each().state)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as workers:
        return list(workers.map(act, acts))


def _meeting(vectors_by: str, barrier: Barrier) -> Embed:
    """A model that answers only once all have asked."""

    def embed(texts: list[str]) -> Vectors:
        barrier.wait(timeout=20)
        return Vectors([[1.0, 2.0] for _ in texts], vectors_by, "1", 2)

    return embed


def test_two_workers_with_one_document_store_it_once(
    committed_acme: Cast, committed_shop: Collection, now: datetime
) -> None:
    made = documents.upload(committed_shop, "a.txt", b"One text.", by=committed_acme.dave, now=now)
    embed = _meeting("m", Barrier(2))
    states = _at_once(
        committed_acme, *[lambda: ingestion.ingest(made.pk, embed=embed, now=now)] * 2
    )
    assert states == ["ready", "ready"]
    assert Passage.objects.count() == 1


def test_of_two_first_documents_with_two_models_one_is_refused(
    committed_acme: Cast, committed_shop: Collection, now: datetime
) -> None:
    barrier = Barrier(2)

    def ingesting(model: str) -> Callable[[], Document]:
        made = documents.upload(
            committed_shop, f"{model}.txt", model.encode(), by=committed_acme.dave, now=now
        )
        return lambda: ingestion.ingest(made.pk, embed=_meeting(model, barrier), now=now)

    states = _at_once(committed_acme, ingesting("one"), ingesting("two"))
    assert sorted(states) == ["failed", "ready"]
    refused = Document.objects.get(state="failed")
    assert refused.error_code == "embedding_mismatch"
    assert Passage.objects.count() == 1
