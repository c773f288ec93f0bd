"""The only place where the API shows, adds, changes and removes tools."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Flag, Query, Shape, Slug, Text, Thing, Whole
from api.views import ApiView, created
from runtime import toolbox
from runtime.models import Effect, Tool
from runtime.queries import access_tool
from runtime.toolbox import Definition

METHODS = [(method, method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")]


class ToolWanted(Shape):
    """An HTTP call that agents may be granted. `headers` are sealed and never shown again."""

    description = Text(max_length=4_000)
    method = serializers.ChoiceField(choices=METHODS)
    url = Text(max_length=2_000)
    parameters = Thing(help_text="A JSON Schema of the arguments: integers and strings, no number.")
    effect = serializers.ChoiceField(choices=Effect.choices)
    repeatable = Flag(default=False)
    timeout_seconds = Whole(default=10, min_value=1, max_value=toolbox.LONGEST_TIMEOUT)
    headers = serializers.DictField(child=Text(max_length=4_000), default=dict)


class NewTool(ToolWanted):
    """A tool and the slug under which models and policies know it."""

    slug = Slug()


class ToolShown(serializers.ModelSerializer[Tool]):
    """A tool, without its headers."""

    has_headers = serializers.SerializerMethodField()

    class Meta:
        model = Tool
        fields = (
            "slug",
            "description",
            "method",
            "url",
            "parameters",
            "effect",
            "repeatable",
            "timeout_seconds",
            "has_headers",
            "created_at",
        )

    def get_has_headers(self, tool: Tool) -> bool:
        """Whether headers are sealed with it."""
        return tool.headers is not None


class Tools(ApiView):
    """A tenant's tools."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=ToolShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Tools, newest first."""
        self.asked()
        return self.page(Tool.objects.all(), ToolShown)

    @extend_schema(request=NewTool, responses={201: ToolShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Add a tool. For admins and builders."""
        definition = Definition(**self.sent(NewTool))
        tool = toolbox.add(definition, by=request.user, now=timezone.now())
        return created(ToolShown(tool), "tool", tool.slug)


class ToolView(ApiView):
    """One tool."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=ToolShown)
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """A tool."""
        return Response(ToolShown(access_tool(slug, principal=request.user)).data)

    @extend_schema(request=ToolWanted, responses=ToolShown)
    def put(self, request: PrincipalRequest, slug: str) -> Response:
        """Give the tool another definition, headers included. For admins and builders."""
        tool = access_tool(slug, principal=request.user)
        definition = Definition(slug=slug, **self.sent(ToolWanted))
        changed = toolbox.change(tool, definition, by=request.user, now=timezone.now())
        return Response(ToolShown(changed).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, slug: str) -> Response:
        """Remove the tool. For admins and builders."""
        tool = access_tool(slug, principal=request.user)
        toolbox.remove(tool, by=request.user, now=timezone.now())
        return Response(status=204)
