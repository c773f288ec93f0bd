"""The only place where the API shows, gives and takes back an agent's grants."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Shape, Slug
from api.views import ApiView
from runtime import granting
from runtime.queries import access_agent

KINDS = [(kind, kind) for kind in granting.KINDS]


class NewGrant(Shape):
    """What the agent may use."""

    kind = serializers.ChoiceField(choices=KINDS)
    slug = Slug()


class GrantShown(serializers.Serializer[Any]):
    """One thing that an agent may use."""

    kind = serializers.ChoiceField(choices=KINDS)
    slug = serializers.CharField()


class GrantsShown(serializers.Serializer[Any]):
    """An agent's grants; they fit on one page."""

    grants = GrantShown(many=True)


class Grants(ApiView):
    """What an agent may use."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=GrantsShown)
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """All of the agent's grants."""
        agent = access_agent(slug, principal=request.user)
        return Response(GrantsShown({"grants": granting.of(agent)}).data)

    @extend_schema(request=NewGrant, responses={201: GrantsShown})
    @idempotent
    def post(self, request: PrincipalRequest, slug: str) -> Response:
        """Grant a tool, a route, or a collection with its embedding route. For admins."""
        agent = access_agent(slug, principal=request.user)
        given = granting.give(agent, **self.sent(NewGrant), by=request.user)
        return Response(GrantsShown({"grants": given}).data, status=201)


class GrantView(ApiView):
    """One grant."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, slug: str, kind: str, resource: str) -> Response:
        """Take exactly this grant back. For admins."""
        agent = access_agent(slug, principal=request.user)
        granting.revoke(agent, kind, resource, by=request.user)
        return Response(status=204)
