"""The only place that reads collections, documents and passages on somebody's behalf."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, QuerySet

from audit.errors import Problem
from retrieval.models import Collection, Document, Passage
from tenants import isolation
from tenants.principals import Principal

# What a search may be asked: characters of its query, passages of its answer.
MAX_QUERY_CHARACTERS = 4_000
DEFAULT_LIMIT = 6
MAX_LIMIT = 50


class CollectionUnknown(Problem):
    """There is no collection {collection} here."""

    code = "collection_unknown"
    status = 404


class DocumentUnknown(Problem):
    """There is no document {document} here."""

    code = "document_unknown"
    status = 404


class PassageUnknown(Problem):
    """There is no passage {passage} here."""

    code = "passage_unknown"
    status = 404


def collections() -> QuerySet[Collection]:
    """The tenant's collections by slug, each with `document_count`."""
    return Collection.objects.annotate(document_count=Count("documents")).order_by("slug")


def documents() -> QuerySet[Document]:
    """The tenant's documents, newest first, with their collections and without their bytes."""
    return Document.objects.select_related("collection").defer("content")


def passages_of(document: Document) -> QuerySet[Passage]:
    """The document's passages in reading order, without their vectors."""
    return Passage.objects.filter(document=document).defer("embedding").order_by("ordinal")


def access_collection(slug: str, *, principal: Principal) -> Collection:
    """The collection, for members and client apps of its tenant. Raises `CollectionUnknown`.

    An agent has no way to it but `search.find`.
    """
    found = collections().filter(slug=slug).first() if _reads(principal) else None
    if found is None:
        raise CollectionUnknown(collection=slug)
    return found


def access_document(document: UUID, *, principal: Principal) -> Document:
    """The document without its bytes, for members and client apps. Raises `DocumentUnknown`."""
    found = documents().filter(pk=document).first() if _reads(principal) else None
    if found is None:
        raise DocumentUnknown(document=str(document))
    return found


def access_passage(passage: UUID, *, principal: Principal) -> Passage:
    """The passage with its document, for members and client apps. Raises `PassageUnknown`."""
    passages = Passage.objects.select_related("document__collection").defer(
        "embedding", "document__content"
    )
    found = passages.filter(pk=passage).first() if _reads(principal) else None
    if found is None:
        raise PassageUnknown(passage=str(passage))
    return found


def content_of(document: Document) -> bytes:
    """The bytes as they were uploaded."""
    return bytes(Document.objects.values_list("content", flat=True).get(pk=document.pk))


def _reads(principal: Principal) -> bool:
    return principal.kind != "agent" and principal.tenant == isolation.current().slug
