"""The only place where the API gives a member a token, and tells a caller who they are."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.authentication import PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Shape, Slug, Text
from api.views import ApiView
from audit.errors import Problem
from tenants import directory, isolation, signing_in
from tenants.keys import issuing
from tenants.models import Tenant
from tenants.signing_in import SignInRefused

KINDS = ["member", "client_app"]


class TenantNeeded(Problem):
    """Sign in at a tenant's host name, or say which tenant is meant."""

    code = "tenant_needed"
    status = 422


class SignIn(Shape):
    """An address and a password; `tenant` is needed where the host name does not say it."""

    email = Text(max_length=254)
    password = Text(max_length=1_000)
    tenant = Slug(required=False)


class TokenShown(serializers.Serializer[Any]):
    """A token, shown this once."""

    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class PrincipalShown(serializers.Serializer[Any]):
    """Whoever asks."""

    kind = serializers.ChoiceField(choices=KINDS)
    id = serializers.CharField()
    name = serializers.CharField()
    tenant = serializers.CharField()
    roles = serializers.ListField(child=serializers.CharField())


class Me(ApiView):
    """Who the caller is."""

    @extend_schema(responses=PrincipalShown)
    def get(self, request: PrincipalRequest) -> Response:
        """The principal behind the key, token or session."""
        who = request.user
        shown = {"roles": sorted(who.roles), "kind": who.kind, "id": who.id, "name": who.name}
        return Response(PrincipalShown({**shown, "tenant": who.tenant}).data)


class SignInView(ApiView):
    """From a password to a token."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(operation_id="sign_in", request=SignIn, responses={201: TokenShown}, auth=[])
    def post(self, request: Request) -> Response:
        """Sign in as a member of the host's tenant, or of `tenant`; a token for 12 hours.

        An Idempotency-Key brings the same token again for the same request alone. Nobody is known
        yet, so the key with another body is not refused: it is answered as a new request.
        """
        wanted = self.sent(SignIn)
        with isolation.acting_for(_tenant(wanted.pop("tenant", None))):
            return self.issue(request, **wanted)

    @idempotent
    def issue(self, request: Request, *, email: str, password: str) -> Response:
        """Check the password in the tenant that is acting, and issue the token."""
        member = signing_in.sign_in(email, password, way="token")
        key, text = issuing.issue_member_token(member, now=timezone.now())
        return Response(TokenShown({"token": text, "expires_at": key.expires_at}).data, status=201)

    post.heeds_idempotency_key = True  # type: ignore[attr-defined]


def _tenant(slug: str | None) -> Tenant:
    """The host's tenant, or the one that was named; a name that does not agree is refused."""
    of_host = isolation.entered()
    if of_host is not None:
        if slug not in {None, of_host.slug}:
            raise SignInRefused
        return of_host
    if slug is None:
        raise TenantNeeded
    try:
        return directory.of_slug(slug)
    except directory.TenantUnknown:
        raise SignInRefused from None
