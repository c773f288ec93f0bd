"""The only place that creates, changes and removes collections."""

from __future__ import annotations

import re
from datetime import datetime

from django.db import IntegrityError, connection, transaction

from audit import ledger
from audit.errors import Problem
from retrieval.events import CollectionChanged, CollectionCreated, CollectionRemoved
from retrieval.models import Collection, Document, Passage, Posting
from tenants import configuration
from tenants.principals import Principal

KEEPERS = ("admin", "builder")
_SLUG = re.compile(r"[a-z][a-z0-9_-]{0,59}")


class SlugTaken(Problem):
    """There is a collection {collection} already."""

    code = "collection_exists"
    status = 409


class CollectionMalformed(Problem):
    """A collection's {field} must be {wanted}."""

    code = "collection_malformed"
    status = 422


@transaction.atomic
def create(
    slug: str,
    *,
    name: str,
    embedding_route: str,
    by: Principal,
    now: datetime,
    description: str = "",
    classification: str = "",
    language: str = "english",
) -> Collection:
    """A new, empty collection; its vectors will come through the route `embedding_route`.

    `language` is one of `languages()`: the grammar by which words are compared. Raises
    `NotPermitted`, `CollectionMalformed`, `SlugTaken`.
    """
    by.require(*KEEPERS)
    _check(slug, language)
    collection = Collection(
        slug=slug,
        name=_named(name),
        description=description,
        classification=classification,
        language=language,
        embedding_route=embedding_route,
        created_at=now,
    )
    _insert(collection)
    created = CollectionCreated(
        collection=slug,
        classification=classification,
        embedding_route=embedding_route,
        language=language,
    )
    ledger.record(created, actor=by.actor)
    configuration.touch()
    return collection


@transaction.atomic
def change(
    collection: Collection,
    *,
    by: Principal,
    name: str | None = None,
    description: str | None = None,
    classification: str | None = None,
    embedding_route: str | None = None,
) -> Collection:
    """Set what is given. Slug and language stay: grants, policies and the index hang on them.

    Another route may be named, yet one that leads to another model is refused on use
    (`EmbeddingMismatch`). Raises `NotPermitted`, `CollectionMalformed`.
    """
    by.require(*KEEPERS)
    wanted = {
        "name": None if name is None else _named(name),
        "description": description,
        "classification": classification,
        "embedding_route": embedding_route,
    }
    changes = {
        field: value
        for field, value in wanted.items()
        if value is not None and value != getattr(collection, field)
    }
    if not changes:
        return collection
    Collection.objects.filter(pk=collection.pk).update(**changes)
    collection.refresh_from_db()
    event = CollectionChanged(collection=collection.slug, changed=sorted(changes), values=changes)
    ledger.record(event, actor=by.actor)
    configuration.touch()
    return collection


@transaction.atomic
def remove(collection: Collection, *, by: Principal) -> None:
    """Remove the collection with its documents and passages. Raises `NotPermitted`."""
    by.require(*KEEPERS)
    documents = Document.objects.filter(collection=collection)
    list(documents.select_for_update().values_list("pk"))  # an ingestion under way ends first
    Posting.objects.filter(collection=collection).delete()
    passages, _ = Passage.objects.filter(collection=collection).delete()
    removed, _ = documents.delete()
    Collection.objects.filter(pk=collection.pk).delete()
    gone = CollectionRemoved(collection=collection.slug, documents=removed, passages=passages)
    ledger.record(gone, actor=by.actor)
    configuration.touch()


def languages() -> list[str]:
    """PostgreSQL's text search configurations; `simple` knows no grammar and fits all languages."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT cfgname FROM pg_catalog.pg_ts_config ORDER BY cfgname")
        return [name for (name,) in cursor.fetchall()]


def _check(slug: str, language: str) -> None:
    if not _SLUG.fullmatch(slug):
        raise CollectionMalformed(
            field="slug", wanted="small letters, digits, - and _, a letter first, at most 60"
        )
    if language not in (known := languages()):
        raise CollectionMalformed(field="language", wanted="one of " + ", ".join(known))


def _named(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= 200:
        raise CollectionMalformed(field="name", wanted="1 to 200 characters")
    return name


def _insert(collection: Collection) -> None:
    try:
        with transaction.atomic():
            collection.save(force_insert=True)
    except IntegrityError as taken:
        raise SlugTaken(collection=collection.slug) from taken
