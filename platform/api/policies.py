"""The only place where the API shows, checks and sets a tenant's policies."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.pagination import ByVersion
from api.shapes import Query, Shape, Slug, Text, Thing
from api.views import ApiView, created
from governance import mentions, policies, policy_sets, queries, verdicts
from governance.models import PolicySet
from governance.statements import Flaw
from governance.validation import MAX_BYTES
from runtime import entities, rehearsing, toolbox
from runtime.queries import access_agent
from runtime.rehearsing import Question

ACTIONS = [(action, action) for action in rehearsing.ACTIONS]


class NewPolicies(Shape):
    """A whole text of Cedar policies."""

    text = Text(max_length=MAX_BYTES, allow_blank=True)
    based_on = serializers.IntegerField(
        default=None,
        allow_null=True,
        min_value=1,
        help_text="The version that the text was written on: refused once another is in force.",
    )


class Check(Shape):
    """A question: would this be allowed? `text` asks a draft instead of the policies in force."""

    action = serializers.ChoiceField(choices=ACTIONS)
    resource = Slug()
    arguments = Thing(default=dict)
    agent = Slug(default=None, allow_null=True, help_text="Without one, the asking member.")
    on_behalf_of = Text(default=None, allow_null=True)
    text = Text(default=None, allow_null=True, max_length=MAX_BYTES)


class PolicySetShown(serializers.ModelSerializer[PolicySet]):
    """One version of the policies; it never changes."""

    class Meta:
        model = PolicySet
        fields = ("version", "text", "sha256", "author", "active", "created_at")


class ActivePolicySetShown(PolicySetShown):
    """The policies in force, with the schema that they are written against, as Cedar shows it."""

    schema = serializers.SerializerMethodField()

    class Meta(PolicySetShown.Meta):
        fields = (*PolicySetShown.Meta.fields, "schema")  # type: ignore[assignment]

    def get_schema(self, policy_set: PolicySet) -> str:
        """Cedar's human-readable schema."""
        return policies.render_schema(policy_set.schema)


class WarningShown(serializers.Serializer[Any]):
    """A name in the policies that stands for nothing, where it is; `line` and `column` from 1."""

    line = serializers.IntegerField()
    column = serializers.IntegerField(allow_null=True)
    policy = serializers.CharField(allow_null=True)
    message = serializers.CharField()


class VerdictShown(serializers.Serializer[Any]):
    """What the policies say. Nothing was decided or recorded."""

    outcome = serializers.ChoiceField(choices=["allowed", "held", "denied"])
    code = serializers.CharField()
    explanation = serializers.CharField()
    reasons = serializers.ListField(child=serializers.CharField())
    matched = serializers.ListField(child=serializers.CharField())
    diagnostics = serializers.ListField(
        child=serializers.CharField(), source="errors", help_text="Cedar's own words."
    )
    policy_version = serializers.IntegerField()
    awaits = serializers.ChoiceField(
        choices=["recorded", "sealed", "cosigned"],
        help_text="How far the ledger must be before anything is done.",
    )
    warnings = WarningShown(
        many=True, help_text="What the policies name and is not there: misspelt, or not made yet."
    )


class Policies(ApiView):
    """The versions of a tenant's policies."""

    permission_classes = (MembersOnly,)
    pagination_class = ByVersion

    @extend_schema(parameters=[Query], responses=PolicySetShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Versions, newest first."""
        self.asked()
        return self.page(queries.policy_sets(principal=request.user), PolicySetShown)

    @extend_schema(request=NewPolicies, responses={201: PolicySetShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Put a text into force as the next version. For admins."""
        wanted = self.sent(NewPolicies)
        saved = policy_sets.save(
            **wanted, tools=toolbox.schemas, by=request.user, now=timezone.now()
        )
        return created(PolicySetShown(saved), "policy-version", saved.version)


class ActivePolicies(ApiView):
    """The policies in force."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=ActivePolicySetShown)
    def get(self, request: PrincipalRequest) -> Response:
        """The version in force, and its schema."""
        found = queries.access_policy_set(principal=request.user)
        return Response(ActivePolicySetShown(found).data)


class PolicyVersion(ApiView):
    """One version of the policies."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=PolicySetShown)
    def get(self, request: PrincipalRequest, version: int) -> Response:
        """A version of the policies."""
        found = queries.access_policy_set(version, principal=request.user)
        return Response(PolicySetShown(found).data)


class PolicyCheck(ApiView):
    """What would happen."""

    permission_classes = (MembersOnly,)

    @extend_schema(request=Check, responses=VerdictShown)
    def post(self, request: PrincipalRequest) -> Response:
        """The verdict that an intent would get. Not for viewers."""
        wanted = self.sent(Check)
        text, slug = wanted.pop("text"), wanted.pop("agent")
        agent = access_agent(slug, principal=request.user) if slug else None
        verdict = rehearsing.verdict_on(Question(agent=agent, **wanted), by=request.user, text=text)
        told = {name: getattr(verdict, name) for name in verdict.__struct_fields__}
        told |= {"explanation": verdicts.explain(verdict), "warnings": _warnings(text)}
        return Response(VerdictShown(told).data)


def _warnings(draft: str | None) -> list[Flaw]:
    """Of a draft that is valid, or of the policies in force."""
    in_force = PolicySet.objects.filter(active=True).values_list("text", flat=True)
    text = (in_force.first() or "") if draft is None else draft
    return mentions.missing(text, entities.ids())
