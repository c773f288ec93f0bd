"""The only place where the API tells why a ledger is halted, and takes approvals to go on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.views import ApiView
from audit.recoveries import Halt
from runtime import ledgers


class HaltShown(serializers.Serializer[Any]):
    """A checkpoint over `signed_size` entries was signed, and the database held `size` others."""

    id = serializers.UUIDField()
    reason = serializers.CharField()
    signed_size = serializers.IntegerField()
    signed_root = serializers.SerializerMethodField(help_text="Hex SHA-256.")
    size = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    approvers = serializers.ListField(
        child=serializers.CharField(), help_text="The ids of the members who approved to go on."
    )
    missing = serializers.IntegerField(help_text="How many members have yet to approve.")

    def get_signed_root(self, halt: Halt) -> str:
        """In hexadecimal."""
        return halt.signed_root.hex()


class HaltsShown(serializers.Serializer[Any]):
    """All halts at once: there are never many."""

    results = HaltShown(many=True)


class RecoveryApproved(serializers.Serializer[Any]):
    """What became of an approval: the sequencer goes on once `missing` is 0."""

    halt = serializers.UUIDField()
    missing = serializers.IntegerField()


class Halts(ApiView):
    """Why nothing is sealed and signed."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=HaltsShown)
    def get(self, request: PrincipalRequest) -> Response:
        """The halts that nobody recovered yet. For auditors and admins."""
        found = ledgers.halts(principal=request.user)
        return Response({"results": HaltShown(found, many=True).data})


class HaltApprovals(ApiView):
    """Where a ledger is let go on."""

    permission_classes = (MembersOnly,)

    @extend_schema(request=None, responses={201: RecoveryApproved})
    @idempotent
    def post(self, request: PrincipalRequest, halt: UUID) -> Response:
        """Approve that the ledger goes on without what it lost. Two auditors or admins have to."""
        missing = ledgers.approve_recovery(halt, by=request.user)
        return Response(RecoveryApproved({"halt": halt, "missing": missing}).data, status=201)
