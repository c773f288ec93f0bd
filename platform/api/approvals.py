"""The only place where the API shows approvals and takes votes."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, Slug, Text, Thing
from api.views import ApiView
from governance import queries
from governance.models import Approval, State, Vote
from runtime import runs

VERDICTS = [("approve", "Approve"), ("reject", "Reject")]


class ApprovalsQuery(Query):
    """What narrows approvals down."""

    state = serializers.ChoiceField(choices=State.choices, required=False)
    agent = Slug(required=False)
    run = serializers.UUIDField(required=False)


class NewVote(Shape):
    """A member's word. Rejecting needs a reason, which the agent is told."""

    verdict = serializers.ChoiceField(choices=VERDICTS)
    reason = Text(default="", allow_blank=True, max_length=2_000)


class VoteShown(serializers.ModelSerializer[Vote]):
    """A vote."""

    class Meta:
        model = Vote
        fields = ("member", "member_name", "verdict", "reason", "created_at")


class ApprovalShown(serializers.ModelSerializer[Approval]):
    """A held intent."""

    reasons = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Approval
        fields = (
            "id",
            "state",
            "agent",
            "action",
            "resource_kind",
            "resource",
            "code",
            "reasons",
            "digest",
            "policy_version",
            "requester_kind",
            "requester",
            "run",
            "step",
            "created_at",
            "expires_at",
            "settled_at",
        )


class ApprovalInFull(ApprovalShown):
    """A held intent with its exact arguments, and what led to it."""

    arguments = Thing(source="intent.arguments")
    intent = Thing()
    evidence = serializers.ListField(child=Thing())
    votes = VoteShown(many=True)

    class Meta(ApprovalShown.Meta):
        fields = (  # type: ignore[assignment]
            *ApprovalShown.Meta.fields,
            "arguments",
            "intent",
            "policy_sha256",
            "agent_author",
            "evidence",
            "votes",
        )


class Approvals(ApiView):
    """What was held for a vote."""

    @extend_schema(parameters=[ApprovalsQuery], responses=ApprovalShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Approvals, newest first: all for reviewers, auditors and admins, else one's own."""
        filters = self.asked(ApprovalsQuery)
        rows = queries.approvals(principal=request.user).filter(**filters)
        return self.page(rows, ApprovalShown)


class ApprovalView(ApiView):
    """One held intent."""

    @extend_schema(responses=ApprovalInFull)
    def get(self, request: PrincipalRequest, approval: UUID) -> Response:
        """The exact arguments, why it was held, what led to it, and the votes."""
        found = queries.access_approval(approval, principal=request.user)
        return Response(ApprovalInFull(found).data)


class Votes(ApiView):
    """Where an approval is settled."""

    @extend_schema(request=NewVote, responses={201: ApprovalInFull})
    @idempotent
    def post(self, request: PrincipalRequest, approval: UUID) -> Response:
        """Approve or reject. For reviewers and admins who neither asked nor wrote the agent."""
        wanted = self.sent(NewVote)
        found = queries.access_approval(approval, principal=request.user)
        runs.settle_approval(found, **wanted, by=request.user, now=timezone.now())
        settled = queries.access_approval(approval, principal=request.user)
        return Response(ApprovalInFull(settled).data, status=201)
