"""The only place where the API shows, proves and exports the ledger."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api.authentication import MembersOnly, PrincipalRequest
from api.shapes import Query, Thing
from api.views import ApiView
from audit import queries
from audit.queries import Inclusion
from runtime import ledgers

CHUNK = 256 * 1024
ACTOR_KINDS = ["member", "agent", "client_app", "system"]


class EntriesQuery(Query):
    """What narrows entries down. `kind` may end in a dot: `run.` is all of runs."""

    kind = serializers.CharField(required=False, max_length=100)
    actor = serializers.CharField(required=False, max_length=255)
    correlation = serializers.UUIDField(required=False, help_text="A run's id.")
    after = serializers.DateTimeField(required=False)
    before = serializers.DateTimeField(required=False)
    text = serializers.CharField(required=False, max_length=200)


class ActorShown(serializers.Serializer[Any]):
    """Who acted."""

    kind = serializers.ChoiceField(choices=ACTOR_KINDS)
    id = serializers.CharField()
    version = serializers.CharField(allow_null=True)
    on_behalf_of = serializers.CharField(allow_null=True)


class EntryShown(serializers.Serializer[Any]):
    """A recorded event. `index` is its place in the tree once it is sealed."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    actor = ActorShown()
    correlation = serializers.UUIDField(allow_null=True)
    recorded_at = serializers.DateTimeField()
    event = Thing()
    index = serializers.IntegerField(allow_null=True)


class CheckpointShown(serializers.Serializer[Any]):
    """A signed tree head: a C2SP note, and the key that verifies it."""

    size = serializers.IntegerField()
    note = serializers.CharField()
    verifier_key = serializers.CharField()
    created_at = serializers.DateTimeField()


class ProofShown(serializers.Serializer[Any]):
    """RFC 6962 inclusion: hash `leaf`, go up `path`, and arrive at the checkpoint's root."""

    index = serializers.IntegerField()
    leaf = serializers.CharField(help_text="Base64 of the leaf's canonical JSON.")
    path = serializers.ListField(child=serializers.CharField(), help_text="Hex SHA-256, upwards.")
    checkpoint = CheckpointShown()


class Entries(ApiView):
    """The ledger."""

    @extend_schema(parameters=[EntriesQuery], responses=EntryShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Entries, newest first: all for auditors and admins, else those of runs one may see."""
        rows = ledgers.entries(principal=request.user, **self.asked(EntriesQuery))
        return self.page(rows, EntryShown)


class EntryView(ApiView):
    """One entry."""

    @extend_schema(responses=EntryShown)
    def get(self, request: PrincipalRequest, entry: UUID) -> Response:
        """An entry in full; that it was looked at is recorded."""
        found = ledgers.access_entry(entry, principal=request.user)
        ledgers.view(found, by=request.user)
        return Response(EntryShown(found).data)


class EntryProof(ApiView):
    """What shows that an entry is in the tree."""

    @extend_schema(responses=ProofShown)
    def get(self, request: PrincipalRequest, entry: UUID) -> Response:
        """The proof that the entry is in the newest checkpoint's tree."""
        found = ledgers.access_entry(entry, principal=request.user)
        return Response(_proof(queries.inclusion(found)))


class CheckpointView(ApiView):
    """What the ledger vouches for."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=CheckpointShown)
    def get(self, request: PrincipalRequest) -> Response:
        """The newest checkpoint."""
        return Response(CheckpointShown(queries.latest_checkpoint()).data)


class LedgerExport(ApiView):
    """The ledger to take away."""

    permission_classes = (MembersOnly,)
    http_method_names = ("get", "options")  # a HEAD would export too

    @extend_schema(responses={(200, "application/gzip"): OpenApiTypes.BINARY})
    def get(self, request: PrincipalRequest) -> StreamingHttpResponse:
        """The bundle, which `python -m audit.verify` checks offline. For auditors and admins."""
        now = timezone.now()
        # On disk: a ledger has no bound. The file has no name, so nothing is left behind.
        file = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the last byte was sent)
        try:
            ledgers.export(file, by=request.user, now=now)
        except BaseException:
            file.close()
            raise
        size = file.tell()
        file.seek(0)
        name = f"ledger-{request.user.tenant}-{now:%Y%m%dT%H%M%SZ}.tar.gz"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(size),
            "Cache-Control": "no-store",
        }
        return StreamingHttpResponse(
            _chunks(file), content_type="application/gzip", headers=headers
        )


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The file's bytes, read in a thread of the pool; the file is closed at the end."""
    read = sync_to_async(file.read, thread_sensitive=False)
    try:
        while chunk := await read(CHUNK):
            yield chunk
    finally:
        file.close()


def _proof(found: Inclusion) -> dict[str, Any]:
    return {
        "index": found.index,
        "leaf": base64.b64encode(found.leaf).decode(),
        "path": [step.hex() for step in found.path],
        "checkpoint": CheckpointShown(found.checkpoint).data,
    }
