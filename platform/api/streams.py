"""The only place where the API makes, shows, changes, tests and removes streams to a SIEM."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent, idempotent_across_commits
from api.shapes import Flag, Query, Shape, Slug, Text, Whole
from api.views import ApiView, created
from runtime import streams
from runtime.models import Stream, StreamKind
from runtime.streams import LONGEST_AUTHORITY
from tenants.outgoing import LONGEST_URL

ADDRESS = "Of syslog `tls://host:port` or `tcp://host:port`, of a webhook its URL."
AUTHORITY = "PEM: certificates by which the receiver's is judged instead of the system's."
SELECTION = "How the kinds of the entries begin that are sent: `run.`; empty: all."


class StreamWanted(Shape):
    """What may change about a stream."""

    address = Text(max_length=LONGEST_URL, required=False, help_text=ADDRESS)
    authority = Text(
        max_length=LONGEST_AUTHORITY, required=False, allow_blank=True, help_text=AUTHORITY
    )
    selection = Text(max_length=100, required=False, allow_blank=True, help_text=SELECTION)
    enabled = Flag(required=False)
    cursor = Whole(
        required=False, help_text="The index of the next entry to send: set it back to send again."
    )


class NewStream(Shape):
    """A receiver of the ledger, from the index `cursor` on; null: what comes from now on."""

    slug = Slug()
    kind = serializers.ChoiceField(choices=StreamKind.choices)
    address = Text(max_length=LONGEST_URL, help_text=ADDRESS)
    authority = Text(
        max_length=LONGEST_AUTHORITY, default="", allow_blank=True, help_text=AUTHORITY
    )
    selection = Text(max_length=100, default="", allow_blank=True, help_text=SELECTION)
    cursor = Whole(default=0, allow_null=True)


class StreamShown(serializers.ModelSerializer[Stream]):
    """A stream and how far it is, without its secret. `lag` counts the entries still to be sent.

    `failures` is how often in a row its receiver did not take a batch, `error` why.
    """

    lag = serializers.SerializerMethodField()

    class Meta:
        model = Stream
        fields = (
            "slug",
            "kind",
            "address",
            "authority",
            "selection",
            "enabled",
            "cursor",
            "lag",
            "delivered_at",
            "failures",
            "error",
            "failed_at",
            "next_try_at",
            "created_at",
        )

    def get_lag(self, stream: Stream) -> int:
        """How many published entries it has not dealt with."""
        return streams.lag(stream)


class StreamShownOnce(StreamShown):
    """A stream with the secret that signs its webhooks, shown this once; null for syslog."""

    secret = serializers.SerializerMethodField()

    class Meta(StreamShown.Meta):
        fields = (*StreamShown.Meta.fields, "secret")  # type: ignore[assignment]

    def get_secret(self, _: Stream) -> str | None:
        """As the receiver configures it (Standard Webhooks)."""
        secret: str | None = self.context["secret"]
        return secret


class StreamTestShown(serializers.Serializer[Any]):
    """Whether the receiver took a test message, and why not."""

    taken = serializers.BooleanField()
    reason = serializers.CharField(allow_null=True)


class Streams(ApiView):
    """Where the ledger is sent."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=StreamShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Streams, newest first. For admins and auditors."""
        self.asked()
        return self.page(streams.every(principal=request.user), StreamShown)

    @extend_schema(request=NewStream, responses={201: StreamShownOnce})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Send the ledger to a SIEM. For admins. The secret is in this answer and nowhere else."""
        made, secret = streams.create(**self.sent(NewStream), by=request.user, now=timezone.now())
        return created(StreamShownOnce(made, context={"secret": secret}), "stream", made.slug)


class StreamView(ApiView):
    """One stream."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=StreamShown)
    def get(self, request: PrincipalRequest, slug: str) -> Response:
        """A stream and how far it is. For admins and auditors."""
        return Response(StreamShown(streams.access(slug, principal=request.user)).data)

    @extend_schema(request=StreamWanted, responses=StreamShown)
    def patch(self, request: PrincipalRequest, slug: str) -> Response:
        """Change what is given, at once. For admins."""
        stream = streams.access(slug, principal=request.user)
        changed = streams.change(stream, **self.sent(StreamWanted), by=request.user)
        return Response(StreamShown(changed).data)

    @extend_schema(responses={204: None})
    def delete(self, request: PrincipalRequest, slug: str) -> Response:
        """End the stream. For admins."""
        streams.remove(streams.access(slug, principal=request.user), by=request.user)
        return Response(status=204)


class StreamSecret(ApiView):
    """The secret of a webhook."""

    permission_classes = (MembersOnly,)

    @extend_schema(request=None, responses={201: StreamShownOnce})
    @idempotent
    def post(self, request: PrincipalRequest, slug: str) -> Response:
        """Another secret; the one before signs as well for 24 hours. For admins."""
        stream = streams.access(slug, principal=request.user)
        secret = streams.rotate(stream, by=request.user, now=timezone.now())
        return Response(StreamShownOnce(stream, context={"secret": secret}).data, status=201)


class StreamTest(ApiView):
    """A message without entries."""

    permission_classes = (MembersOnly,)

    @extend_schema(request=None, responses=StreamTestShown)
    @idempotent_across_commits
    def post(self, request: PrincipalRequest, slug: str) -> Response:
        """Send a test message now, and say what happened. For admins."""
        stream = streams.access(slug, principal=request.user)
        problem = streams.test(stream, by=request.user, now=timezone.now())
        told = {"taken": problem is None, "reason": problem and str(problem)}
        return Response(StreamTestShown(told).data)
