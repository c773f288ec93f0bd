"""The only place where the API shows, adds, changes and removes endpoints of model APIs."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, Slug, Text, Whole
from api.views import ApiView, created
from gateway import endpoints, queries
from gateway.models import DEAREST_MICROS, Endpoint, Purpose


class EndpointChange(Shape):
    """Prices, in micros of a dollar a million tokens, and the bound of an answer."""

    input_micros_per_million = Whole(max_value=DEAREST_MICROS)
    output_micros_per_million = Whole(max_value=DEAREST_MICROS)
    max_tokens = Whole(allow_null=True, min_value=1, max_value=10_000_000)


class NewEndpoint(Shape):
    """One model at one provider. What it answers with never changes: add another one."""

    slug = Slug()
    provider = Slug()
    model = Text()
    purpose = serializers.ChoiceField(choices=Purpose.choices)
    input_micros_per_million = Whole(default=0, max_value=DEAREST_MICROS)
    output_micros_per_million = Whole(default=0, max_value=DEAREST_MICROS)
    dimensions = Whole(default=None, allow_null=True, min_value=1, max_value=16_000)
    max_tokens = Whole(default=None, allow_null=True, min_value=1, max_value=10_000_000)


class EndpointShown(serializers.ModelSerializer[Endpoint]):
    """An endpoint."""

    provider = serializers.CharField(source="provider.slug")

    class Meta:
        model = Endpoint
        fields = (
            "slug",
            "provider",
            "model",
            "purpose",
            "input_micros_per_million",
            "output_micros_per_million",
            "dimensions",
            "max_tokens",
            "created_at",
        )


class Endpoints(ApiView):
    """The models that routes can use."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=EndpointShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Endpoints, newest first. For admins and builders."""
        self.asked()
        request.user.require(*queries.READERS)
        return self.page(queries.endpoints(), EndpointShown)

    @extend_schema(request=NewEndpoint, responses={201: EndpointShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Make a model usable by routes. For admins."""
        request.user.require("admin")
        wanted = self.sent(NewEndpoint)
        provider = queries.access_provider(wanted.pop("provider"), principal=request.user)
        endpoint = endpoints.add(**wanted, provider=provider, by=request.user, now=timezone.now())
        return created(EndpointShown(endpoint), "endpoint", endpoint.slug)


class EndpointView(ApiView):
    """One endpoint."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=EndpointShown)
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """An endpoint."""
        return Response(EndpointShown(_access(slug, request)).data)

    @extend_schema(request=EndpointChange, responses=EndpointShown)
    def put(self, request: PrincipalRequest, slug: str) -> Response:
        """Set prices and the bound of an answer. For admins."""
        endpoint = _access(slug, request)
        endpoints.change(endpoint, **self.sent(EndpointChange), by=request.user)
        return Response(EndpointShown(endpoint).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, slug: str) -> Response:
        """End the use of a model. For admins."""
        endpoints.remove(_access(slug, request), by=request.user)
        return Response(status=204)


def _access(slug: str, request: PrincipalRequest) -> Endpoint:
    return queries.access_endpoint(slug, principal=request.user)
