"""The only place for retrieval's rows: collections, documents, passages and their postings.

Foreign keys say `DO_NOTHING`: PostgreSQL refuses to leave a row behind, and the verbs delete a
document of thousands of passages in a few statements, without loading any. A key that begins an
index or a constraint has no index of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Cast
from pgvector.django import HnswIndex, VectorField

from audit.events import person_of
from audit.ids import new_id

INDEXED_DIMENSIONS = 256
"""Vectors of this many dimensions have an HNSW index; others are compared one by one.

A collection decides on its dimensions with its first document, an index must know them
beforehand: so the column takes any vector, and the index covers the rows of the default model's
size. For another size copy the index below (pgvector's HNSW takes up to 2,000 dimensions).
"""


class Collection(models.Model):
    """Documents that are searched together.

    `embedding_model`, `embedding_version` and `dimensions` are of the model that its passages'
    vectors come from: unset until the first document is ingested, and never changed afterwards.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    classification = models.CharField(max_length=60, blank=True)
    language = models.CharField(max_length=30, default="english")
    embedding_route = models.CharField(max_length=100)
    embedding_model = models.CharField(max_length=200, blank=True)
    embedding_version = models.CharField(max_length=100, blank=True)
    dimensions = models.PositiveSmallIntegerField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["slug"]
        permissions: ClassVar = [("invoke", "May be invoked by an agent")]

    def __str__(self) -> str:
        return self.slug


class State(models.TextChoices):
    """Where a document stands. A failed one may be ingested again, e.g. once a provider is back."""

    QUEUED = "queued", "Queued"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class Document(models.Model):
    """One uploaded file with its bytes, which never change. `sha256` is theirs, `size` in bytes.

    `uploaded_by` is the id of a member or a client app: the document is embedded on their behalf.
    `claimed_until`: until then one worker, and no other, is ingesting it.
    The bytes are large: `queries` defers them, and only ingestion and download read them.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    collection = models.ForeignKey(
        Collection, on_delete=models.DO_NOTHING, related_name="documents", db_index=False
    )
    title = models.CharField(max_length=200)
    filename = models.CharField(max_length=200)
    kind = models.CharField(max_length=20)
    media_type = models.CharField(max_length=100)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    content = models.BinaryField()
    metadata: models.JSONField[Any, Any] = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)
    uploaded_by_kind = models.CharField(max_length=20)
    uploaded_by = models.CharField(max_length=100)
    created_at = models.DateTimeField()
    ingested_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["collection", "sha256"], name="one_document_a_content"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def person(self) -> str | None:
        """Whom it is about, as the ledger names them; None where its metadata don't say."""
        name = self.metadata.get("person")
        return person_of(name) if isinstance(name, str) and name else None


class Passage(models.Model):
    """A retrievable piece of a document's text with its vector.

    `start` and `end` count characters in the parsed text; `tokens` is its length, by
    `chunking.estimate_tokens`; `sha256` is of the text that was embedded.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    document = models.ForeignKey(
        Document, on_delete=models.DO_NOTHING, related_name="passages", db_index=False
    )
    collection = models.ForeignKey(
        Collection, on_delete=models.DO_NOTHING, related_name="+", db_index=False
    )
    ordinal = models.PositiveIntegerField()
    text = models.TextField()
    headings = ArrayField(models.TextField())
    page = models.PositiveIntegerField(null=True)
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    tokens = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    dimensions = models.PositiveSmallIntegerField()
    embedding = VectorField()

    class Meta:
        ordering: ClassVar = ["document", "ordinal"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["document", "ordinal"], name="one_passage_a_place"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["collection", "sha256"], name="passage_by_content"),
            models.Index(fields=["collection"], include=["tokens"], name="passage_lengths"),
            HnswIndex(
                OpClass(
                    Cast("embedding", VectorField(dimensions=INDEXED_DIMENSIONS)),
                    name="vector_cosine_ops",
                ),
                name="passage_embedding_256",
                condition=Q(dimensions=INDEXED_DIMENSIONS),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.document_id}#{self.ordinal}"


class Posting(models.Model):
    """How often a word (a lexeme of `to_tsvector`) stands in a passage.

    Nothing that could go stale is kept: numbers of passages and of passages with the word are
    counted by the search itself.
    """

    pk = models.CompositePrimaryKey("collection_id", "lexeme", "passage_id")
    collection = models.ForeignKey(
        Collection, on_delete=models.DO_NOTHING, related_name="+", db_index=False
    )
    lexeme = models.TextField()
    passage = models.ForeignKey(Passage, on_delete=models.DO_NOTHING, related_name="+")
    occurrences = models.PositiveSmallIntegerField()

    def __str__(self) -> str:
        return f"{self.lexeme} in {self.passage_id}"
