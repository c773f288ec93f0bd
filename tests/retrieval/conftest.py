"""The only place for retrieval's fixtures: a real, small embedding model and an indexed shop."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import pytest
import wordllama
from cast import Cast
from retrieval_corpus import DOCUMENTS

from retrieval import collections, documents, ingestion, parsing, parsing_child
from retrieval.embedding import Embed, Vectors
from retrieval.models import Collection


@lru_cache
def _model() -> wordllama.WordLlamaInference:
    bundled = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=bundled, disable_download=True, dim=256)


@pytest.fixture
def embed() -> Embed:
    """The model that the product brings along."""

    def embedded(texts: list[str]) -> Vectors:
        return Vectors(_model().embed(texts, norm=True).tolist(), "wordllama", "l2-256", 256)

    return embedded


@pytest.fixture
def shop(acme: Cast, now: datetime) -> Collection:
    """An empty collection of acme."""
    return collections.create(
        "shop", name="Shop", embedding_route="embeddings", by=acme.alice, now=now
    )


@pytest.fixture
def handbook(
    acme: Cast, shop: Collection, embed: Embed, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> Collection:
    """The shop's documents, searchable; parsed without a process of their own, which takes time."""
    monkeypatch.setattr(parsing, "parse", parsing_child.parse)
    for filename, text in DOCUMENTS.items():
        uploaded = documents.upload(shop, filename, text.encode(), by=acme.dave, now=now)
        assert ingestion.ingest(uploaded.pk, embed=embed, now=now).state == "ready"
    return shop
