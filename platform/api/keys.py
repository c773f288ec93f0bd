"""The only place where the API issues, shows and revokes keys."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, Text
from api.views import ApiView, created
from tenants.keys import issuing
from tenants.keys.issuing import KeyUnknown
from tenants.keys.models import Key
from tenants.principals import Principal


class NewKey(Shape):
    """A name that says what the client app is."""

    name = Text(max_length=100)


class KeyShown(serializers.ModelSerializer[Key]):
    """A key without its secret."""

    id = serializers.CharField(source="public_id")

    class Meta:
        model = Key
        fields = ("id", "kind", "name", "created_by", "created_at", "expires_at", "revoked_at")


class KeyShownOnce(KeyShown):
    """A new key with its secret, shown this once."""

    secret = serializers.SerializerMethodField()

    class Meta(KeyShown.Meta):
        fields = (*KeyShown.Meta.fields, "secret")  # type: ignore[assignment]

    def get_secret(self, key: Key) -> str:
        """The whole text that a client app sends."""
        return str(self.context["secret"])


class Keys(ApiView):
    """Service keys and members' tokens."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=KeyShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Keys, newest first: all for admins and auditors, their own tokens for others."""
        self.asked()
        return self.page(_visible_to(request.user), KeyShown)

    @extend_schema(request=NewKey, responses={201: KeyShownOnce})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Issue a service key. For admins. The secret is in this answer and nowhere else."""
        name = self.sent(NewKey)["name"]
        key, secret = issuing.issue_service_key(name, by=request.user, now=timezone.now())
        shown = KeyShownOnce(key, context={"secret": secret})
        return created(shown, "key", key.public_id)


class KeyView(ApiView):
    """One key."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=KeyShown)
    def get(self, request: PrincipalRequest, key: str) -> Response:
        """A key, without its secret."""
        found = _visible_to(request.user).filter(public_id=key).first()
        if found is None:
            raise KeyUnknown(key=key)
        return Response(KeyShown(found).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, key: str) -> Response:
        """Revoke a key at once. For admins, and for a member's own token."""
        issuing.revoke(key, by=request.user, now=timezone.now())
        return Response(status=204)


def _visible_to(principal: Principal) -> QuerySet[Key]:
    if principal.has("admin", "auditor"):
        return Key.objects.all()
    return Key.objects.filter(member=principal.id)
