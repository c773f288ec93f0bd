"""The only place where the API takes requests to erase a person, and their approval."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, Text
from api.views import ApiView, created
from runtime import erasing
from runtime.models import ErasureRequest, ErasureState


class ErasuresQuery(Query):
    """What narrows erasures down."""

    state = serializers.ChoiceField(choices=ErasureState.choices, required=False)


class NewErasure(Shape):
    """Somebody to erase: a member's address or id, a service key's id, or a name.

    The legal basis stays in the ledger, so it may not name them.
    """

    person = Text()
    legal_basis = Text()


class ErasureShown(serializers.ModelSerializer[ErasureRequest]):
    """An erasure, or a request for one. Once it is settled, `person` is empty.

    `receipts` says how much each store gave up, and `entry` is `subject.erased`.
    """

    receipts = serializers.DictField(child=serializers.IntegerField())

    class Meta:
        model = ErasureRequest
        fields = (
            "id",
            "state",
            "person",
            "legal_basis",
            "requester",
            "settled_by",
            "entry",
            "receipts",
            "created_at",
            "settled_at",
        )


class Erasures(ApiView):
    """Who was erased, and who should be."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[ErasuresQuery], responses=ErasureShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Erasures, newest first. For admins and auditors."""
        rows = erasing.requests(principal=request.user).filter(**self.asked(ErasuresQuery))
        return self.page(rows, ErasureShown)

    @extend_schema(request=NewErasure, responses={201: ErasureShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Ask to erase a person. Nothing is erased before another admin or auditor approves."""
        row = erasing.request(**self.sent(NewErasure), by=request.user, now=timezone.now())
        return created(ErasureShown(row), "erasure", row.pk)


class ErasureView(ApiView):
    """One erasure."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=ErasureShown)
    def get(self, request: PrincipalRequest, erasure: UUID) -> Response:
        """An erasure. For admins and auditors."""
        return Response(ErasureShown(erasing.access(erasure, principal=request.user)).data)


class ErasureApproval(ApiView):
    """The second person's yes."""

    permission_classes = (MembersOnly,)

    @extend_schema(request=None, responses={201: ErasureShown})
    @idempotent
    def post(self, request: PrincipalRequest, erasure: UUID) -> Response:
        """Erase the person, for ever. For an admin or auditor who did not ask for it."""
        row = erasing.access(erasure, principal=request.user)
        done = erasing.approve(row, by=request.user, now=timezone.now())
        return Response(ErasureShown(done).data, status=201)


class ErasureRejection(ApiView):
    """A no, or a withdrawal."""

    permission_classes = (MembersOnly,)

    @extend_schema(request=None, responses={201: ErasureShown})
    @idempotent
    def post(self, request: PrincipalRequest, erasure: UUID) -> Response:
        """Reject or withdraw the request: nothing is erased. For admins and auditors."""
        row = erasing.access(erasure, principal=request.user)
        done = erasing.reject(row, by=request.user, now=timezone.now())
        return Response(ErasureShown(done).data, status=201)
