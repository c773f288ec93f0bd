"""The only place where the API shows, creates and versions agents."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.pagination import ByNumberDown
from api.shapes import Query, Shape, Slug, Text, Thing, slugs
from api.views import ApiView, created
from audit.errors import Problem
from runtime import agents
from runtime.models import Agent, AgentVersion
from runtime.queries import access_agent


class VersionUnknown(Problem):
    """The agent {agent} has no version {version}."""

    code = "agent_version_unknown"
    status = 404


class NewAgent(Shape):
    """An agent without versions. Whoever creates it may never approve what it proposes."""

    slug = Slug()
    name = Text()


class NewVersion(Shape):
    """What the agent is from now on. Naming a tool is no grant: without one each use is denied."""

    instructions = Text(max_length=100_000)
    route = Slug()
    tools = slugs(default=list)
    collections = slugs(default=list)
    limits = Thing(default=dict, help_text="steps, tokens, cost_micros, seconds: each optional.")
    answer_schema = Thing(
        default=None, allow_null=True, help_text="A JSON Schema that answers must fit."
    )


class AgentShown(serializers.ModelSerializer[Agent]):
    """An agent."""

    class Meta:
        model = Agent
        fields = ("slug", "name", "author", "created_at")


class VersionShown(serializers.ModelSerializer[AgentVersion]):
    """A version of an agent; it never changes."""

    agent = serializers.CharField(source="agent.slug")

    class Meta:
        model = AgentVersion
        fields = (
            "agent",
            "number",
            "instructions",
            "route",
            "tools",
            "collections",
            "limits",
            "answer_schema",
            "author",
            "sha256",
            "created_at",
        )


class Agents(ApiView):
    """A tenant's agents."""

    @extend_schema(parameters=[Query], responses=AgentShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Agents, newest first."""
        self.asked()
        return self.page(Agent.objects.all(), AgentShown)

    @extend_schema(request=NewAgent, responses={201: AgentShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Create an agent. For admins and builders."""
        agent = agents.create(**self.sent(NewAgent), by=request.user, now=timezone.now())
        return created(AgentShown(agent), "agent", agent.slug)


class AgentView(ApiView):
    """One agent."""

    @extend_schema(responses=AgentShown)
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """An agent."""
        return Response(AgentShown(access_agent(slug, principal=request.user)).data)


class Versions(ApiView):
    """What an agent was and is."""

    permission_classes = (MembersOnly,)
    pagination_class = ByNumberDown

    @extend_schema(parameters=[Query], responses=VersionShown(many=True))
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """The agent's versions, newest first."""
        self.asked()
        agent = access_agent(slug, principal=request.user)
        return self.page(agent.versions.select_related("agent"), VersionShown)

    @extend_schema(request=NewVersion, responses={201: VersionShown})
    @idempotent
    def post(self, request: PrincipalRequest, slug: str) -> Response:
        """Publish the agent's next version. For admins and builders."""
        agent = access_agent(slug, principal=request.user)
        wanted = self.sent(NewVersion)
        version = agents.publish_version(
            agent, limits_=wanted.pop("limits"), **wanted, by=request.user, now=timezone.now()
        )
        return created(VersionShown(version), "version", slug, version.number)


class Version(ApiView):
    """What an agent was at one time."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=VersionShown)
    def get(self, request: PrincipalRequest, slug: str, number: int) -> Response:
        """A version of the agent."""
        agent = access_agent(slug, principal=request.user)
        found = agent.versions.select_related("agent").filter(number=number).first()
        if found is None:
            raise VersionUnknown(agent=slug, version=number)
        return Response(VersionShown(found).data)
