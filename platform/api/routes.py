"""The only place where the API shows, adds, changes and removes routes to models."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, Slug, slugs
from api.views import ApiView, created
from gateway import queries, routes
from gateway.models import Endpoint, Purpose, Route


class RouteChange(Shape):
    """The endpoints that serve the route, the first one first."""

    endpoints = slugs()


class NewRoute(RouteChange):
    """A name that clients and agents ask for."""

    slug = Slug()
    purpose = serializers.ChoiceField(choices=Purpose.choices)


class RouteShown(serializers.ModelSerializer[Route]):
    """A route."""

    endpoints = serializers.SerializerMethodField()

    class Meta:
        model = Route
        fields = ("slug", "purpose", "endpoints", "created_at")

    def get_endpoints(self, route: Route) -> list[str]:
        """Slugs, the first choice first."""
        return [choice.endpoint.slug for choice in route.choices.all()]


class Routes(ApiView):
    """The names that clients and agents ask for."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=RouteShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Routes, newest first. For admins and builders."""
        self.asked()
        request.user.require(*queries.READERS)
        return self.page(queries.routes(), RouteShown)

    @extend_schema(request=NewRoute, responses={201: RouteShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Offer a name. For admins."""
        request.user.require("admin")
        wanted = self.sent(NewRoute)
        chosen = _endpoints(wanted.pop("endpoints"), request)
        route = routes.add(**wanted, endpoints=chosen, by=request.user, now=timezone.now())
        return created(RouteShown(route), "route", route.slug)


class RouteView(ApiView):
    """One route."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=RouteShown)
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """A route."""
        return Response(RouteShown(_access(slug, request)).data)

    @extend_schema(request=RouteChange, responses=RouteShown)
    def put(self, request: PrincipalRequest, slug: str) -> Response:
        """Serve the route by other endpoints, or in another order. For admins."""
        route = _access(slug, request)
        request.user.require("admin")
        chosen = _endpoints(self.sent(RouteChange)["endpoints"], request)
        routes.change(route, endpoints=chosen, by=request.user)
        return Response(RouteShown(_access(slug, request)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, slug: str) -> Response:
        """Stop offering a name. For admins."""
        routes.remove(_access(slug, request), by=request.user)
        return Response(status=204)


def _access(slug: str, request: PrincipalRequest) -> Route:
    return queries.access_route(slug, principal=request.user)


def _endpoints(wanted: list[str], request: PrincipalRequest) -> list[Endpoint]:
    return [queries.access_endpoint(slug, principal=request.user) for slug in wanted]
