"""The only place that makes a document searchable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit import ledger
from audit.errors import Problem
from audit.events import SYSTEM, Actor
from retrieval import bm25, chunking, parsing
from retrieval.chunking import Chunk
from retrieval.embedding import Embed, Vectors, claim, embedded, require_match
from retrieval.events import DocumentFailed, DocumentIngested
from retrieval.models import Collection, Document, Passage, State
from retrieval.queries import DocumentUnknown, documents

ROWS_A_STATEMENT = 500


class DocumentInterrupted(Problem):
    """The document was begun {attempts} times, and each time the worker died."""

    code = "document_interrupted"
    status = 500


def ingest(document_id: UUID, *, embed: Embed, now: datetime, by: Actor = SYSTEM) -> Document:
    """Parse, cut, embed and index a document, all of it or nothing; its new state is returned.

    1. A ready document is left alone: calling twice does no harm. 2. Parsing and embedding happen
    outside of any transaction of ours. 3. One transaction locks the document, claims the
    collection's model, writes passages and postings, and records `document.ingested`. 4. A problem
    on the way leaves the state `failed` with its code and message, records `document.failed`, and
    another call tries again. Raises `DocumentUnknown`, also where it was removed meanwhile.
    """
    document = _with_content(document_id)
    if document.state == State.READY:
        return document
    try:
        chunks = chunking.chunk(parsing.parse(document.kind, bytes(document.content)))
        vectors = _vectors(document.collection, chunks, embed)
        _store(document, chunks, vectors, now=now, by=by)
    except Problem as problem:
        _fail(document, problem, by=by)
    return _without_content(document_id)


def _with_content(document_id: UUID) -> Document:
    document = Document.objects.select_related("collection").filter(pk=document_id).first()
    if document is None:
        raise DocumentUnknown(document=str(document_id))
    return document


def _without_content(document_id: UUID) -> Document:
    document = documents().filter(pk=document_id).first()
    if document is None:
        raise DocumentUnknown(document=str(document_id))
    return document


class _Indexed(dict[str, Sequence[float]]):
    """Vectors by the hash of their text; `made` is what the model answered, None if not asked."""

    made: Vectors | None = None


def _vectors(collection: Collection, chunks: Sequence[Chunk], embed: Embed) -> _Indexed:
    """A vector for each text, of which no text is embedded twice in a collection."""
    texts = {_sha256(text): text for text in map(searchable, chunks)}
    known = Passage.objects.filter(collection=collection, sha256__in=list(texts))
    indexed = _Indexed(known.values_list("sha256", "embedding"))
    new = {sha256: text for sha256, text in texts.items() if sha256 not in indexed}
    if new:
        indexed.made = embedded(list(new.values()), embed)
        if collection.embedding_model:
            require_match(collection, indexed.made)
        indexed.update(zip(new, indexed.made.vectors, strict=True))
    return indexed


def searchable(chunk: Chunk) -> str:
    """What is embedded of a passage: its headings say what the text is about."""
    return "\n".join([" > ".join(chunk.headings), chunk.text] if chunk.headings else [chunk.text])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@transaction.atomic
def _store(
    document: Document, chunks: Sequence[Chunk], vectors: _Indexed, *, now: datetime, by: Actor
) -> None:
    states = Document.objects.select_for_update(no_key=True).filter(pk=document.pk)
    state = states.values_list("state", flat=True).first()
    if state is None:
        raise DocumentUnknown(document=str(document.pk))
    if state == State.READY:
        return
    collection = document.collection
    if vectors.made is not None:
        claim(collection, vectors.made)
    Passage.objects.bulk_create(_passages(document, chunks, vectors), batch_size=ROWS_A_STATEMENT)
    bm25.index(document, language=collection.language)
    Document.objects.filter(pk=document.pk).update(
        state=State.READY, error_code="", error_message="", ingested_at=now
    )
    ledger.record(_ingested(document, passages=len(chunks)), actor=by)


def _passages(
    document: Document, chunks: Sequence[Chunk], vectors: Mapping[str, Sequence[float]]
) -> Iterator[Passage]:
    for ordinal, chunk in enumerate(chunks, start=1):
        sha256 = _sha256(searchable(chunk))
        yield Passage(
            document=document,
            collection=document.collection,
            ordinal=ordinal,
            text=chunk.text,
            headings=list(chunk.headings),
            page=chunk.page,
            start=chunk.start,
            end=chunk.end,
            tokens=chunk.tokens,
            sha256=sha256,
            dimensions=len(vectors[sha256]),
            embedding=vectors[sha256],
        )


def _ingested(document: Document, *, passages: int) -> DocumentIngested:
    collection = document.collection
    return DocumentIngested(
        document=str(document.pk),
        collection=collection.slug,
        passages=passages,
        embedding_model=collection.embedding_model,
        embedding_version=collection.embedding_version,
    )


def give_up(document: Document, *, by: Actor = SYSTEM) -> None:
    """Note that a document's ingestion was begun several times and never came to an end."""
    _fail(document, DocumentInterrupted(attempts=document.attempts), by=by)


@transaction.atomic
def _fail(document: Document, problem: Problem, *, by: Actor) -> None:
    """Unless another process was faster: it removed the document, or made it ready."""
    changed = (
        Document.objects.filter(pk=document.pk)
        .exclude(state=State.READY)
        .update(state=State.FAILED, error_code=problem.code, error_message=str(problem))
    )
    if changed:
        failed = DocumentFailed(
            document=str(document.pk),
            collection=document.collection.slug,
            code=problem.code,
            message=str(problem),
        )
        ledger.record(failed, actor=by, person=document.person)
