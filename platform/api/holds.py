"""The only place where the API places, shows and releases legal holds, and sets the retention."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, Text, Whole
from api.views import ApiView, created
from audit.retention import FLOOR_MONTHS
from runtime import holding, retaining


class NewHold(Shape):
    """A hold on a person, named as for an erasure; without one, on the whole ledger."""

    person = Text(allow_null=True, default=None)
    reason = Text(max_length=holding.LONGEST_REASON)


class Release(Shape):
    """Why a hold ends."""

    reason = Text(max_length=holding.LONGEST_REASON)


class HoldShown(serializers.Serializer[Any]):
    """A legal hold. Person and reason are null once the person was erased."""

    id = serializers.UUIDField()
    is_on_everything = serializers.BooleanField()
    person = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    released_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """The hold with what is private of it."""
        return super().to_representation(holding.told([instance])[0])


class Months(Shape):
    """For how many months the private parts of entries are kept, by the beginnings of kinds.

    What no rule is for is kept for ever.
    """

    months = serializers.DictField(child=Whole(min_value=FLOOR_MONTHS))


class Holds(ApiView):
    """What may neither be erased nor pruned."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=HoldShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Legal holds, newest first. For admins and auditors."""
        self.asked()
        return self.page(holding.every(principal=request.user), HoldShown)

    @extend_schema(request=NewHold, responses={201: HoldShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Place a hold. For admins and auditors."""
        hold = holding.place(**self.sent(NewHold), by=request.user)
        return created(HoldShown(hold), "hold", hold.pk)


class HoldView(ApiView):
    """One legal hold."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=HoldShown)
    def get(self, request: PrincipalRequest, hold: UUID) -> Response:
        """A hold. For admins and auditors."""
        return Response(HoldShown(holding.access(hold, principal=request.user)).data)


class HoldRelease(ApiView):
    """The end of a legal hold."""

    permission_classes = (MembersOnly,)

    @extend_schema(request=Release, responses={201: HoldShown})
    @idempotent
    def post(self, request: PrincipalRequest, hold: UUID) -> Response:
        """Release a hold. For admins and auditors."""
        wanted = self.sent(Release)
        found = holding.access(hold, principal=request.user)
        released = holding.release(found, **wanted, by=request.user)
        return Response(HoldShown(released).data, status=201)


class Retention(ApiView):
    """How long the tenant keeps what is private."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=Months)
    def get(self, request: PrincipalRequest) -> Response:
        """The rules. For admins and auditors."""
        return Response({"months": retaining.rules(principal=request.user)})

    @extend_schema(request=Months, responses=Months)
    def put(self, request: PrincipalRequest) -> Response:
        """Replace all rules. For admins."""
        retaining.set_rules(self.sent(Months)["months"], by=request.user)
        return Response({"months": retaining.rules(principal=request.user)})
