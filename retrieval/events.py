"""The only place that lists the entry kinds of collections and documents."""

from __future__ import annotations

from audit.events import Event, Private


class CollectionCreated(Event, kind="collection.created"):
    """A collection came into being, empty."""

    collection: str
    classification: str
    embedding_route: str
    language: str


class CollectionChanged(Event, kind="collection.changed"):
    """A collection's description changed; `values` holds each changed field's new value."""

    collection: str
    changed: list[str]
    values: Private[dict[str, str]]


class CollectionRemoved(Event, kind="collection.removed"):
    """A collection was removed, with all its documents."""

    collection: str
    documents: int
    passages: int


class CollectionSearched(Event, kind="collection.searched"):
    """Passages were found, best first, as the search's decision allowed.

    Each of `sources` names a passage and the SHA-256 of its text, its document and the SHA-256 of
    the document's bytes.
    """

    collection: str
    decision: str
    sources: list[dict[str, str]]


class DocumentUploaded(Event, kind="document.uploaded"):
    """A document was accepted into a collection; it is not searchable yet."""

    document: str
    collection: str
    filename: Private[str]
    media_type: str
    sha256: Private[str]
    size: int


class DocumentIngested(Event, kind="document.ingested"):
    """A document became searchable, all of it, with vectors of this model."""

    document: str
    collection: str
    passages: int
    embedding_model: str
    embedding_version: str


class DocumentFailed(Event, kind="document.failed"):
    """A document could not be made searchable; nothing of it is in the index."""

    document: str
    collection: str
    code: str
    message: Private[str]


class DocumentRemoved(Event, kind="document.removed"):
    """A document was removed from the index and from storage."""

    document: str
    collection: str
    sha256: Private[str]
    passages: int
