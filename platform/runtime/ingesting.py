"""The only place that brings an uploaded document and the embedding model together."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from retrieval import documents, ingestion
from retrieval.models import Collection, Document
from retrieval.queries import DocumentUnknown
from retrieval.queries import documents as documents_kept
from runtime import embedding, nudges
from runtime.embedding import Asker
from runtime.queries import principal_named
from tenants.principals import Principal

# Longer than parsing and embedding the largest document can take.
CLAIM = timedelta(minutes=10)
MOST_ATTEMPTS = 3


def ingest(document_id: UUID, *, now: datetime) -> None:
    """Index a queued document as the one who uploaded it; a failure is noted on the document.

    Nothing happens where another worker has it, or it is queued no more. One whose workers died
    three times is given up. Raises what `ingestion.ingest` raises: DocumentUnknown where it was
    removed.
    """
    document = documents_kept().filter(pk=document_id).first()
    if document is None:
        raise DocumentUnknown(document=str(document_id))
    if not documents.claim(document_id, until=now + CLAIM, now=now):
        return
    if document.attempts >= MOST_ATTEMPTS:
        ingestion.give_up(document)
        return
    uploader = principal_named(document.uploaded_by_kind, document.uploaded_by)
    asker = Asker(principal=uploader, correlation=document_id, now=now)
    ingestion.ingest(document_id, embed=embedding.through(document.collection, asker), now=now)


def upload(
    collection: Collection,
    filename: str,
    content: bytes,
    *,
    by: Principal,
    now: datetime,
    **details: Any,
) -> Document:
    """Keep a document and queue its ingestion, in one commit.

    Raises what `documents.upload` raises.
    """
    with transaction.atomic():
        document = documents.upload(collection, filename, content, by=by, now=now, **details)
        nudges.ingest_after_commit(document.pk)
    return document
