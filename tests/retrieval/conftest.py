"""The only place for retrieval's fixtures: a real, small embedding model and an indexed shop."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from unittest import mock

import pytest
import wordllama
from cast import NOON, Cast
from retrieval_corpus import DOCUMENTS
from stage import SETS

from retrieval import collections, documents, ingestion, parsing, parsing_child
from retrieval.embedding import Embed, Vectors
from retrieval.models import Collection
from tenants import isolation


@lru_cache
def _model() -> wordllama.WordLlamaInference:
    bundled = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=bundled, disable_download=True, dim=256)


def _embedded(texts: list[str]) -> Vectors:
    return Vectors(_model().embed(texts, norm=True).tolist(), "wordllama", "l2-256", 256)


def _shop(cast: Cast, now: datetime) -> Collection:
    return collections.create(
        "shop", name="Shop", embedding_route="embeddings", by=cast.alice, now=now
    )


def _indexed_shop(request: pytest.FixtureRequest) -> None:
    """The shop's documents; parsed without a process of their own, which takes time."""
    cast = request.getfixturevalue("casts")["acme"]
    with (
        isolation.acting_for(cast.tenant),
        mock.patch.object(parsing, "parse", parsing_child.parse),
    ):
        shop = _shop(cast, NOON)
        for filename, text in DOCUMENTS.items():
            uploaded = documents.upload(shop, filename, text.encode(), by=cast.dave, now=NOON)
            assert ingestion.ingest(uploaded.pk, embed=_embedded, now=NOON).state == "ready"


SETS["indexed"] = _indexed_shop


@pytest.fixture
def embed() -> Embed:
    """The model that the product brings along."""
    return _embedded


@pytest.fixture
def shop(acme: Cast, now: datetime) -> Collection:
    """An empty collection of acme."""
    return _shop(acme, now)


@pytest.fixture
def handbook(acme: Cast, indexed: None, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """The shop's documents, searchable; further ones are parsed in this process as well."""
    monkeypatch.setattr(parsing, "parse", parsing_child.parse)
    return Collection.objects.get(slug="shop")
