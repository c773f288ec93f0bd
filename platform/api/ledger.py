"""The only place where the API shows the ledger and proves what is in it."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.negotiation import AsAsked, TlogProof
from api.shapes import Query, Shape, Slug, Thing, of_the_query
from api.views import ApiView
from audit import following, queries
from audit.queries import Inclusion
from runtime import ledgers

ACTOR_KINDS = ["member", "agent", "client_app", "system"]
MEANS = ["session", "token", "service_key"]


class EntriesQuery(Query):
    """What narrows entries down. `kind` may end in a dot: `run.` is all of runs."""

    kind = serializers.CharField(required=False, max_length=100)
    actor = serializers.CharField(required=False, max_length=255, help_text="An actor's id.")
    agent = Slug(required=False, help_text="What this agent did.")
    person = serializers.CharField(
        required=False,
        max_length=255,
        help_text="A member's id, a key's id, or a name that an app acted for: what is by them, for"
        " them or about them. For auditors and admins.",
    )
    correlation = serializers.UUIDField(required=False, help_text="A run's id.")
    after = serializers.DateTimeField(required=False)
    before = serializers.DateTimeField(required=False)
    text = serializers.CharField(
        required=False, max_length=200, help_text="In what happened; never in private parts."
    )


class ProofQuery(Shape):
    """How a proof is written; without it `Accept` decides."""

    format = serializers.ChoiceField([JSONRenderer.format, TlogProof.format], required=False)


class ConsistencyQuery(Query):
    """Two sizes of the log; `to` is that of the newest checkpoint unless it is said."""

    def get_fields(self) -> dict[str, Any]:
        """`from` is no name that Python lets a class give."""
        return {
            "from": serializers.IntegerField(source="old", min_value=1, max_value=2**53),
            "to": serializers.IntegerField(
                source="new", min_value=1, max_value=2**53, required=False
            ),
        }


class ActorShown(serializers.Serializer[Any]):
    """Who acted."""

    kind = serializers.ChoiceField(choices=ACTOR_KINDS)
    id = serializers.CharField()
    version = serializers.CharField(allow_null=True)
    means = serializers.ChoiceField(
        choices=MEANS, allow_null=True, help_text="How they proved who they are."
    )
    on_behalf_of = serializers.CharField(
        allow_null=True, help_text="A member's id, or a pseudonym; never a name."
    )


@extend_schema_field(OpenApiTypes.STR)
class Hex(serializers.Field[bytes, Any, str, bytes]):
    """Bytes, shown in hexadecimal."""

    def to_representation(self, value: bytes) -> str:
        """The digits."""
        return bytes(value).hex()


class EntryShown(serializers.Serializer[Any]):
    """A recorded event. `index` is its place in the tree, once it is sealed.

    From then on `sequence` is its place within its correlation, and `previous` the leaf hash of the
    entry before it there. In `event`, private parts are commitments; `subject` is the pseudonym of
    the person whose they are.
    """

    id = serializers.UUIDField()
    kind = serializers.CharField()
    actor = ActorShown()
    correlation = serializers.UUIDField(allow_null=True)
    sequence = serializers.IntegerField(allow_null=True)
    previous = Hex(allow_null=True)
    subject = serializers.UUIDField(allow_null=True)
    occurred_at = serializers.DateTimeField()
    recorded_at = serializers.DateTimeField()
    event = Thing()
    index = serializers.IntegerField(allow_null=True)


class PartShown(serializers.Serializer[Any]):
    """What a commitment stands for: it is SHA-256 over the salt and the value's canonical JSON."""

    salt = serializers.CharField(help_text="Hex, 32 bytes.")
    value = serializers.JSONField()


class EntryInFull(EntryShown):
    """An entry with its private parts, by field: null for whoever may not read them, empty where
    there are none, or they were erased."""

    private = serializers.DictField(child=PartShown(), allow_null=True)


class CheckpointShown(serializers.Serializer[Any]):
    """A signed tree head: a C2SP note, and the keys that verify it, one a line."""

    size = serializers.IntegerField()
    note = serializers.CharField()
    verifier_key = serializers.CharField()
    key_ids = serializers.ListField(
        child=serializers.CharField(),
        help_text="The keys' ids, in hex, as signature lines have them.",
    )
    created_at = serializers.DateTimeField()


class ProofShown(serializers.Serializer[Any]):
    """RFC 6962 inclusion: hash `leaf`, go up `path`, and arrive at the checkpoint's root."""

    index = serializers.IntegerField()
    leaf = serializers.CharField(help_text="Base64 of the leaf's canonical JSON.")
    path = serializers.ListField(child=serializers.CharField(), help_text="Hex SHA-256, upwards.")
    checkpoint = CheckpointShown()


class TreeShown(serializers.Serializer[Any]):
    """A tree: how many entries it has, and its root."""

    size = serializers.IntegerField()
    root = Hex()  # type: ignore[assignment]  # DRF takes it out of the class


class ConsistencyShown(serializers.Serializer[Any]):
    """RFC 6962 consistency: `path` leads from the root of the smaller tree to the larger one's."""

    def get_fields(self) -> dict[str, Any]:
        """`from` is no name that Python lets a class give."""
        return {
            "from": TreeShown(source="old"),
            "to": TreeShown(source="new"),
            "path": serializers.ListField(child=Hex(), help_text="Hex SHA-256, in order."),
        }


class Entries(ApiView):
    """The ledger."""

    @extend_schema(parameters=[EntriesQuery], responses=EntryShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Entries, newest first: all for auditors and admins, those of its own runs for an app."""
        rows = ledgers.entries(principal=request.user, **self.asked(EntriesQuery))
        return self.page(rows, EntryShown)


class EntryView(ApiView):
    """One entry."""

    @extend_schema(responses=EntryInFull)
    def get(self, request: PrincipalRequest, entry: UUID) -> Response:
        """An entry in full, private parts for auditors and admins; that it was seen is recorded."""
        found = ledgers.access_entry(entry, principal=request.user)
        ledgers.view(found, by=request.user)
        private = ledgers.private(found, principal=request.user)
        return Response({**EntryShown(found).data, "private": private})


class EntryProof(ApiView):
    """What shows that an entry is in the tree."""

    renderer_classes = (JSONRenderer, TlogProof)
    content_negotiation_class = AsAsked

    @extend_schema(
        parameters=[ProofQuery],
        responses={
            (200, JSONRenderer.media_type): ProofShown,
            (200, TlogProof.media_type): OpenApiTypes.STR,
        },
    )
    def get(self, request: PrincipalRequest, entry: UUID) -> Response:
        """The proof that the entry is in the newest checkpoint's tree.

        With `Accept: text/plain` or `?format=tlog-proof` it is one text (C2SP tlog-proof), with the
        signed and cosigned checkpoint in it.
        """
        with of_the_query():
            ProofQuery(data=request.query_params.dict()).is_valid(raise_exception=True)
        found = ledgers.access_entry(entry, principal=request.user)
        if request.accepted_renderer.format == TlogProof.format:
            return Response(following.proof(found))
        return Response(_proof(queries.inclusion(found)))


class CheckpointView(ApiView):
    """What the ledger vouches for."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=CheckpointShown)
    def get(self, request: PrincipalRequest) -> Response:
        """The newest checkpoint."""
        return Response(CheckpointShown(queries.latest_checkpoint()).data)


class LedgerConsistency(ApiView):
    """What shows that the log only grew."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[ConsistencyQuery], responses=ConsistencyShown)
    def get(self, request: PrincipalRequest) -> Response:
        """The proof that the tree of `to` entries continues that of `from` (RFC 9162, 2.1.4)."""
        shown = following.consistency(**self.asked(ConsistencyQuery))
        return Response(ConsistencyShown(shown).data)


def _proof(found: Inclusion) -> dict[str, Any]:
    return {
        "index": found.index,
        "leaf": base64.b64encode(found.leaf).decode(),
        "path": [step.hex() for step in found.path],
        "checkpoint": CheckpointShown(found.checkpoint).data,
    }
