"""The only place where the API shows and changes a tenant's members."""

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
from tenants import members
from tenants.members import MemberUnknown
from tenants.models import Membership, Role


def _roles() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.ChoiceField(choices=Role.choices), min_length=1, max_length=5
    )


class NewMember(Shape):
    """Somebody who becomes a member. Who is one of another tenant as well has two passwords."""

    email = Text(max_length=254)
    name = Text()
    password = Text(max_length=1_000)
    roles = _roles()


class NewRoles(Shape):
    """What a member may do from now on."""

    roles = _roles()


class MemberShown(serializers.ModelSerializer[Membership]):
    """A member."""

    id = serializers.UUIDField(source="user_id")
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")

    class Meta:
        model = Membership
        fields = ("id", "email", "name", "roles", "created_at")


class Members(ApiView):
    """The people of a tenant."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=MemberShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Members, newest first."""
        self.asked()
        return self.page(members.everyone(), MemberShown)

    @extend_schema(request=NewMember, responses={201: MemberShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Add a member. For admins."""
        request.user.require("admin")
        wanted = self.sent(NewMember)
        member = members.add(**wanted, actor=request.user.actor, now=timezone.now())
        return created(MemberShown(member), "member", member.user_id)


class Member(ApiView):
    """One person of a tenant."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=MemberShown)
    def get(self, request: PrincipalRequest, member: UUID) -> Response:
        """A member."""
        return Response(MemberShown(_of(member)).data)

    @extend_schema(request=NewRoles, responses=MemberShown)
    def patch(self, request: PrincipalRequest, member: UUID) -> Response:
        """Change a member's roles. For admins; the last admin stays one."""
        members.set_roles(member, self.sent(NewRoles)["roles"], by=request.user)
        return Response(MemberShown(_of(member)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, member: UUID) -> Response:
        """End a membership. For admins; the last admin stays."""
        members.remove(member, by=request.user)
        return Response(status=204)


def _of(member: UUID) -> Membership:
    found = members.everyone().filter(user_id=member).first()
    if found is None:
        raise MemberUnknown(member=str(member))
    return found
