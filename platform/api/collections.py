"""The only place where the API shows, creates, changes, searches and removes collections."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import PrincipalRequest
from api.idempotency import idempotent, idempotent_across_commits
from api.shapes import Query, Shape, Slug, Text, Thing, Whole
from api.views import ApiView, created
from retrieval import collections, queries
from retrieval.filtering import Filters
from retrieval.models import Collection
from runtime import searching


class CollectionChange(Shape):
    """What changes of a collection. Slug and language stay."""

    name = Text(required=False)
    description = Text(required=False, allow_blank=True, max_length=4_000)
    classification = Text(required=False, allow_blank=True, max_length=60)
    embedding_route = Slug(required=False)


class NewCollection(CollectionChange):
    """An empty collection; `embedding_route` makes its vectors."""

    slug = Slug(max_length=60)
    name = Text()
    embedding_route = Slug()
    language = Text(required=False, max_length=30, help_text="How words compare: english, simple…")


class Search(Shape):
    """A question in plain words. `metadata` and `documents` narrow the search down."""

    query = Text(max_length=queries.MAX_QUERY_CHARACTERS)
    limit = Whole(default=queries.DEFAULT_LIMIT, min_value=1, max_value=queries.MAX_LIMIT)
    metadata = Thing(default=dict)
    documents = serializers.ListField(
        child=serializers.UUIDField(), default=None, allow_null=True, max_length=1_000
    )


class CollectionShown(serializers.ModelSerializer[Collection]):
    """A collection."""

    document_count = serializers.IntegerField(default=0)

    class Meta:
        model = Collection
        fields = (
            "slug",
            "name",
            "description",
            "classification",
            "language",
            "embedding_route",
            "embedding_model",
            "embedding_version",
            "dimensions",
            "document_count",
            "created_at",
        )


class HitShown(serializers.Serializer[Any]):
    """A passage that was found, and where it stands. `score` orders one search's hits only."""

    passage = serializers.UUIDField(source="citation.passage")
    document = serializers.UUIDField(source="citation.document")
    title = serializers.CharField(source="citation.title")
    heading = serializers.CharField(source="citation.heading", allow_null=True)
    page = serializers.IntegerField(source="citation.page", allow_null=True)
    quote = serializers.CharField(source="citation.quote")
    text = serializers.CharField()
    score = serializers.FloatField()


class HitsShown(serializers.Serializer[Any]):
    """Passages, best first."""

    hits = HitShown(many=True)


class Collections(ApiView):
    """A tenant's collections."""

    @extend_schema(parameters=[Query], responses=CollectionShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Collections, newest first."""
        self.asked()
        return self.page(queries.collections(), CollectionShown)

    @extend_schema(request=NewCollection, responses={201: CollectionShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Create an empty collection. For admins and builders."""
        made = collections.create(**self.sent(NewCollection), by=request.user, now=timezone.now())
        return created(CollectionShown(made), "collection", made.slug)


class CollectionView(ApiView):
    """One collection."""

    @extend_schema(responses=CollectionShown)
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """A collection."""
        return Response(CollectionShown(_access(slug, request)).data)

    @extend_schema(request=CollectionChange, responses=CollectionShown)
    def patch(self, request: PrincipalRequest, slug: str) -> Response:
        """Change what is given. For admins and builders."""
        collections.change(_access(slug, request), **self.sent(CollectionChange), by=request.user)
        return Response(CollectionShown(_access(slug, request)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, slug: str) -> Response:
        """Remove the collection with its documents. For admins and builders."""
        collections.remove(_access(slug, request), by=request.user)
        return Response(status=204)


class CollectionSearch(ApiView):
    """Where a collection is asked."""

    @extend_schema(request=Search, responses=HitsShown)
    @idempotent_across_commits
    def post(self, request: PrincipalRequest, slug: str) -> Response:
        """The best passages for a question. Decided by policy, and recorded."""
        wanted = self.sent(Search)
        found = searching.find(
            _access(slug, request),
            wanted["query"],
            by=request.user,
            now=timezone.now(),
            limit=wanted["limit"],
            filters=Filters(metadata=wanted["metadata"], documents=wanted["documents"]),
        )
        return Response(HitsShown({"hits": found}).data)


def _access(slug: str, request: PrincipalRequest) -> Collection:
    return queries.access_collection(slug, principal=request.user)
