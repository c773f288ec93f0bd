"""The only place where the API shows, adds, changes and removes providers."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, Slug, Text, Whole
from api.views import ApiView, created
from gateway import accounts, queries
from gateway.models import LONGEST_TIMEOUT_SECONDS, Provider


class ProviderChange(Shape):
    """What changes. The API key is sealed; an empty one deletes it."""

    base_url = Text(required=False, allow_blank=True, max_length=2_000)
    api_key = Text(required=False, allow_blank=True, max_length=1_000)
    timeout_seconds = Whole(required=False, min_value=1, max_value=LONGEST_TIMEOUT_SECONDS)


class NewProvider(ProviderChange):
    """An account at a model API. Without `base_url` it is the kind's own address."""

    slug = Slug()
    kind = Text(max_length=30)


class ProviderShown(serializers.ModelSerializer[Provider]):
    """A provider; of its key only the end is shown."""

    class Meta:
        model = Provider
        fields = ("slug", "kind", "base_url", "api_key_ending", "timeout_seconds", "created_at")


class Providers(ApiView):
    """The model APIs that a tenant uses."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=ProviderShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Providers, newest first. For admins and builders."""
        self.asked()
        request.user.require(*queries.READERS)
        return self.page(queries.providers(), ProviderShown)

    @extend_schema(request=NewProvider, responses={201: ProviderShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Connect a model API. For admins."""
        provider = accounts.add(**self.sent(NewProvider), by=request.user, now=timezone.now())
        return created(ProviderShown(provider), "provider", provider.slug)


class ProviderView(ApiView):
    """One provider."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=ProviderShown)
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """A provider."""
        return Response(ProviderShown(_access(slug, request)).data)

    @extend_schema(request=ProviderChange, responses=ProviderShown)
    def patch(self, request: PrincipalRequest, slug: str) -> Response:
        """Change what is given. For admins."""
        provider = _access(slug, request)
        accounts.change(provider, **self.sent(ProviderChange), by=request.user)
        return Response(ProviderShown(provider).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, slug: str) -> Response:
        """Disconnect the model API. For admins."""
        accounts.remove(_access(slug, request), by=request.user)
        return Response(status=204)


def _access(slug: str, request: PrincipalRequest) -> Provider:
    return queries.access_provider(slug, principal=request.user)
