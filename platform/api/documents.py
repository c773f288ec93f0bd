"""The only place where the API takes documents in, shows and removes them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from api.authentication import PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, Slug, Text, Thing
from api.views import ApiView, created
from retrieval import documents, queries
from retrieval.models import Document, State
from runtime import ingesting


@extend_schema_field(OpenApiTypes.STR)
class JSONText(serializers.Field[dict[str, Any], str, Any, Any]):
    """A field of a form that holds a JSON object as text."""

    default_error_messages = {"invalid": "Expected a JSON object as text."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The object. Raises ValidationError."""
        try:
            return msgspec.json.decode(data, type=dict[str, Any])
        except (msgspec.MsgspecError, TypeError):
            self.fail("invalid")


class NewDocument(Shape):
    """A file in multipart/form-data, and what to call it."""

    file = serializers.FileField(allow_empty_file=True, max_length=1_000)
    title = Text(default="", allow_blank=True)
    metadata = JSONText(required=False, help_text="A flat JSON object: texts, integers, booleans.")


class DocumentsQuery(Query):
    """What narrows documents down."""

    state = serializers.ChoiceField(choices=State.choices, required=False)
    collection = Slug(required=False)


class DocumentShown(serializers.ModelSerializer[Document]):
    """A document. It is searchable once its state is `ready`; `failed` says why."""

    collection = serializers.CharField(source="collection.slug")
    metadata = Thing()

    class Meta:
        model = Document
        fields = (
            "id",
            "collection",
            "title",
            "filename",
            "media_type",
            "sha256",
            "size",
            "metadata",
            "state",
            "error_code",
            "error_message",
            "uploaded_by_kind",
            "uploaded_by",
            "created_at",
            "ingested_at",
        )


class Documents(ApiView):
    """A tenant's documents."""

    @extend_schema(parameters=[DocumentsQuery], responses=DocumentShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Documents of all collections, newest first."""
        filters = self.asked(DocumentsQuery)
        if "collection" in filters:
            slug = filters.pop("collection")
            filters["collection"] = queries.access_collection(slug, principal=request.user)
        return self.page(queries.documents().filter(**filters), DocumentShown)


class CollectionDocuments(ApiView):
    """Where documents come in."""

    parser_classes = (MultiPartParser,)

    @extend_schema(parameters=[Query], responses=DocumentShown(many=True))
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """The collection's documents, newest first."""
        self.asked()
        collection = queries.access_collection(slug, principal=request.user)
        return self.page(queries.documents().filter(collection=collection), DocumentShown)

    @extend_schema(request={"multipart/form-data": NewDocument}, responses={201: DocumentShown})
    @idempotent
    def post(self, request: PrincipalRequest, slug: str) -> Response:
        """Upload a document. It is queued; a worker makes it searchable."""
        collection = queries.access_collection(slug, principal=request.user)
        wanted = self.sent(NewDocument)
        file = wanted.pop("file")
        document = ingesting.upload(
            collection, file.name, file.read(), by=request.user, now=timezone.now(), **wanted
        )
        return created(DocumentShown(document), "document", document.pk)


class DocumentView(ApiView):
    """One document."""

    @extend_schema(responses=DocumentShown)
    def get(self, request: PrincipalRequest, document: UUID) -> Response:
        """A document, without its bytes."""
        found = queries.access_document(document, principal=request.user)
        return Response(DocumentShown(found).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, document: UUID) -> Response:
        """Remove a document; from now on no search finds it. For admins and builders."""
        found = queries.access_document(document, principal=request.user)
        documents.remove(found, by=request.user)
        return Response(status=204)
