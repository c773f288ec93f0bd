"""The only place that takes documents in and removes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from audit import ledger
from audit.errors import Problem
from audit.events import Actor
from retrieval.blocks import clean, one_line
from retrieval.collections import KEEPERS
from retrieval.events import DocumentRemoved, DocumentUploaded
from retrieval.models import Collection, Document, Passage, Posting, State
from retrieval.parsers.protocol import DocumentEmpty
from retrieval.parsers.registry import by_filename
from retrieval.queries import DocumentUnknown
from tenants.principals import Principal

MAX_NAME = 200
MAX_METADATA_KEYS = 32
MAX_METADATA_TEXT = 500
Metadata = Mapping[str, str | int | bool]


class DocumentTooLarge(Problem):
    """The document has {size} bytes, and {limit} are the limit."""

    code = "document_too_large"
    status = 413


class DuplicateDocument(Problem):
    """The collection {collection} holds this content already, as the document {document}."""

    code = "duplicate_document"
    status = 409


class MetadataMalformed(Problem):
    """A document's metadata is a flat object of up to 32 short texts, integers or booleans."""

    code = "metadata_malformed"
    status = 422


@transaction.atomic
def upload(
    collection: Collection,
    filename: str,
    content: bytes,
    *,
    by: Principal,
    now: datetime,
    title: str = "",
    metadata: Metadata | None = None,
) -> Document:
    """Keep `content` as a queued document; `ingestion.ingest` makes it searchable.

    Only what a glance can tell is checked here; what needs parsing is told by the document's
    state later. The same content again in one collection is refused, with the id of the document
    that has it: nobody's title or metadata is dropped silently, and whoever synchronises a folder
    takes the refusal as "it is there". Raises `NotPermitted`, `DocumentTooLarge`, `FormatUnknown`,
    `DocumentEmpty`, `NotWhatItSays`, `DocumentEncrypted`, `DocumentExpandsTooFar`,
    `DocumentCorrupt`, `MetadataMalformed`, `DuplicateDocument`.
    """
    if by.kind != "client_app":
        by.require(*KEEPERS)
    filename = _filename(filename)
    parser = by_filename(filename)
    if len(content) > settings.MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(size=len(content), limit=settings.MAX_DOCUMENT_BYTES)
    if not content.strip():
        raise DocumentEmpty
    parser.check(content)
    document = Document(
        collection=collection,
        title=(one_line(clean(title)) or _title(filename))[:MAX_NAME],
        filename=filename,
        kind=parser.kind,
        media_type=parser.media_type,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        content=content,
        metadata=_metadata(metadata or {}),
        uploaded_by_kind=by.kind,
        uploaded_by=by.id,
        created_at=now,
    )
    _insert(document)
    ledger.record(_uploaded(document), actor=by.actor, person=document.person)
    return document


def claim(document: UUID, *, until: datetime, now: datetime) -> bool:
    """Take a queued document to ingest it, so that nobody else does until then.

    False where it is not queued (any more), or somebody else has it.
    """
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    queued = Document.objects.filter(free, pk=document, state=State.QUEUED)
    return queued.update(claimed_until=until, attempts=F("attempts") + 1) == 1


@transaction.atomic
def remove(document: Document, *, by: Principal) -> None:
    """Remove the document; from this commit on no search finds it.

    Raises `NotPermitted`, `DocumentUnknown` where somebody else removed it meanwhile.
    """
    by.require(*KEEPERS)
    _remove(document, by.actor)


def erase_of(names: Iterable[str], *, actor: Actor) -> list[UUID]:
    """Remove the documents whose metadata say that they are about one of `names` (`person`), in
    the caller's transaction; their ids. Whether they may be is for the caller to say.
    """
    about = Q(metadata__person__in=list(names))
    found = list(Document.objects.filter(about).select_related("collection").defer("content"))
    for document in found:
        _remove(document, actor)
    return [document.pk for document in found]


def _remove(document: Document, actor: Actor) -> None:
    row = Document.objects.filter(pk=document.pk)
    if not row.select_for_update().values_list("pk"):
        raise DocumentUnknown(document=str(document.pk))
    own = Passage.objects.filter(document=document)
    Posting.objects.filter(passage__in=own).delete()
    passages, _ = own.delete()
    row.delete()
    removed = DocumentRemoved(
        document=str(document.pk),
        collection=document.collection.slug,
        sha256=document.sha256,
        passages=passages,
    )
    ledger.record(removed, actor=actor, person=document.person)


def _insert(document: Document) -> None:
    try:
        with transaction.atomic():
            document.save(force_insert=True)
    except IntegrityError as taken:
        same = Document.objects.filter(collection=document.collection, sha256=document.sha256)
        existing = same.values_list("pk", flat=True).first()
        if existing is None:
            raise
        raise DuplicateDocument(
            collection=document.collection.slug, document=str(existing)
        ) from taken


def _uploaded(document: Document) -> DocumentUploaded:
    return DocumentUploaded(
        document=str(document.pk),
        collection=document.collection.slug,
        filename=document.filename,
        media_type=document.media_type,
        sha256=document.sha256,
        size=document.size,
    )


def _filename(name: str) -> str:
    """The name alone, of at most 200 characters: no folders, no control characters."""
    last = PurePosixPath(clean(name).replace("\\", "/")).name
    path = PurePosixPath(one_line("".join(each for each in last if each.isprintable())))
    suffix = path.suffix[:20]
    return path.stem[: MAX_NAME - len(suffix)] + suffix


def _title(filename: str) -> str:
    words = one_line(PurePosixPath(filename).stem.replace("_", " ").replace("-", " "))
    return words[:1].upper() + words[1:] or filename


def _metadata(metadata: Metadata) -> dict[str, str | int | bool]:
    if len(metadata) > MAX_METADATA_KEYS:
        raise MetadataMalformed
    return {_short(key): _value(value) for key, value in metadata.items()}


def _value(value: object) -> str | int | bool:
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return _short(value)


def _short(text: object) -> str:
    if not isinstance(text, str) or len(text) > MAX_METADATA_TEXT:
        raise MetadataMalformed
    return clean(text)
