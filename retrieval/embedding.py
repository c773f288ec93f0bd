"""The only place for what retrieval asks of a model that makes vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from audit.errors import Problem
from retrieval.models import Collection


class Embedded(Protocol):
    """One vector a text, in the order of the texts, and which model made them."""

    @property
    def vectors(self) -> list[list[float]]: ...
    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def dimensions(self) -> int: ...


TEXTS_A_CALL = 128

Embed = Callable[[list[str]], Embedded]
"""Makes vectors. It may reach over the network: it is never called within a transaction of ours."""


class EmbeddingMismatch(Problem):
    """The collection {collection} was indexed with {indexed}, and this is {offered}."""

    code = "embedding_mismatch"
    status = 409


class EmbeddingMalformed(Problem):
    """The embedding model {model} answered with {got} instead of {wanted}."""

    code = "embedding_malformed"
    status = 502


class Vectors(msgspec.Struct, frozen=True):
    """Vectors of many texts, all of one model: an `Embedded`."""

    vectors: list[list[float]]
    model: str
    version: str
    dimensions: int


def embedded(texts: Sequence[str], embed: Embed) -> Vectors:
    """The vectors of `texts` (at least one), asked for in batches, and checked.

    Raises `EmbeddingMalformed`, and whatever `embed` raises.
    """
    answers = [
        _checked(texts[at : at + TEXTS_A_CALL], embed) for at in range(0, len(texts), TEXTS_A_CALL)
    ]
    first = answers[0]
    vectors: list[list[float]] = []
    for answer in answers:
        if _named_by(answer) != _named_by(first):
            raise EmbeddingMalformed(
                model=first.model, got=f"vectors of {_named_by(answer)}", wanted=_named_by(first)
            )
        vectors.extend(answer.vectors)
    return Vectors(vectors, first.model, first.version, first.dimensions)


def _checked(texts: Sequence[str], embed: Embed) -> Embedded:
    answer = embed(list(texts))
    if len(answer.vectors) != len(texts):
        got = f"{len(answer.vectors)} vectors"
        raise EmbeddingMalformed(model=answer.model, got=got, wanted=str(len(texts)))
    for vector in answer.vectors:
        if len(vector) != answer.dimensions or not all(map(math.isfinite, vector)):
            raise EmbeddingMalformed(
                model=answer.model,
                got=f"a vector of {len(vector)} numbers",
                wanted=f"{answer.dimensions} finite ones",
            )
    return answer


def require_model(collection: Collection, model: str, dimensions: int | None) -> None:
    """The same of a model by its name and size, which are known before it is sent anything.

    Raises `EmbeddingMismatch`.
    """
    is_size = dimensions in {None, collection.dimensions}
    if collection.embedding_model and not (model == collection.embedding_model and is_size):
        size = f" ({dimensions} dimensions)" if dimensions else ""
        raise EmbeddingMismatch(
            collection=collection.slug, indexed=_indexed(collection), offered=f"{model}{size}"
        )


def require_match(collection: Collection, offered: Vectors) -> None:
    """Vectors of two models lie in two spaces. Raises `EmbeddingMismatch`."""
    if _indexed(collection) != _named_by(offered):
        raise EmbeddingMismatch(
            collection=collection.slug,
            indexed=_indexed(collection),
            offered=_named_by(offered),
        )


def claim(collection: Collection, offered: Vectors) -> None:
    """The first vectors decide the collection's model, in the caller's transaction.

    Of two first documents at once, one waits for the other here. Raises `EmbeddingMismatch`.
    """
    Collection.objects.filter(pk=collection.pk, embedding_model="").update(
        embedding_model=offered.model,
        embedding_version=offered.version,
        dimensions=offered.dimensions,
    )
    collection.refresh_from_db(fields=["embedding_model", "embedding_version", "dimensions"])
    require_match(collection, offered)


def _indexed(collection: Collection) -> str:
    return _named(collection.embedding_model, collection.embedding_version, collection.dimensions)


def _named_by(answer: Embedded) -> str:
    return _named(answer.model, answer.version, answer.dimensions)


def _named(model: str, version: str, dimensions: int | None) -> str:
    return f"{model} {version} ({dimensions} dimensions)"
