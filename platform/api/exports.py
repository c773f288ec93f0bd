"""The only place where the API exports the ledger: at once, or as a job."""

from __future__ import annotations

import tempfile
from typing import Any
from uuid import UUID

from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from api import downloads
from api.authentication import MembersOnly, PrincipalRequest
from api.idempotency import idempotent
from api.shapes import Query, Shape, of_the_query
from api.views import ApiView, address
from audit.selections import Selection
from runtime import exports, ledgers
from runtime.models import ExportState, LedgerExport

BUNDLE = {(200, downloads.BUNDLE): OpenApiTypes.BINARY}
RANGE = OpenApiParameter(
    "Range",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="`bytes=N-`: the rest of a download that broke off (RFC 9110).",
)


class Selected(Shape):
    """Which entries an export is about: those that fit all that is given, else every entry.

    Every entry's header is exported; `selected` ones come with their private parts, unless `bodies`
    is `none`.
    """

    kind = serializers.CharField(
        required=False, max_length=100, help_text="How the kind begins: `run.` is all of runs."
    )
    actor = serializers.CharField(required=False, max_length=255, help_text="An actor's id.")
    correlation = serializers.UUIDField(required=False, help_text="A run's id.")
    after = serializers.DateTimeField(required=False, help_text="Recorded at or after this.")
    before = serializers.DateTimeField(required=False, help_text="Recorded before this.")
    bodies = serializers.ChoiceField(["selected", "none"], default="selected")

    def wanted(self) -> dict[str, Any]:
        """The selection, and whether private parts are wanted. Raises ValidationError."""
        self.is_valid(raise_exception=True)
        values = dict(self.validated_data)
        with_bodies = values.pop("bodies") == "selected"
        return {"selection": Selection(**values), "with_bodies": with_bodies}


class ExportShown(serializers.Serializer[LedgerExport]):
    """An export and how far it is: `done` of `total` entries are written.

    `bundle` is where it can be downloaded, once it is ready and until `expires_at`.
    """

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=ExportState.choices)
    filter = serializers.DictField(child=serializers.CharField())
    bodies = serializers.SerializerMethodField()
    done = serializers.IntegerField()
    total = serializers.IntegerField()
    size = serializers.IntegerField(allow_null=True, help_text="Entries under the checkpoint.")
    # DRF takes it out of the class.
    root = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    selected = serializers.IntegerField(allow_null=True, help_text="Entries that fit the filter.")
    bytes = serializers.IntegerField(allow_null=True)
    sha256 = serializers.CharField(allow_null=True, help_text="Of the file.")
    failure = serializers.CharField(allow_null=True, help_text="A problem's code.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.SerializerMethodField()
    bundle = serializers.SerializerMethodField()

    def get_bodies(self, row: LedgerExport) -> str:
        """Whether private parts go out."""
        return "selected" if row.with_bodies else "none"

    def get_expires_at(self, row: LedgerExport) -> str:
        """When it is removed."""
        shown: str = serializers.DateTimeField().to_representation(row.created_at + exports.LIFE)
        return shown

    def get_bundle(self, row: LedgerExport) -> str | None:
        """The address of the file."""
        is_ready = row.state == ExportState.READY
        return address("ledger-export-bundle", row.pk) if is_ready else None


class LedgerBundle(ApiView):
    """The ledger to take away, at once."""

    permission_classes = (MembersOnly,)
    http_method_names = ("get", "options")  # a HEAD would export too

    @extend_schema(parameters=[Selected], responses=BUNDLE)
    def get(self, request: PrincipalRequest) -> StreamingHttpResponse:
        """The bundle, which `python -m audit.verify` checks offline. For auditors and admins.

        It is made while you wait: for a large ledger ask for an export as a job.
        """
        now = timezone.now()
        with of_the_query():
            wanted = Selected(data=request.query_params.dict()).wanted()
        # On disk: a ledger has no bound. The file has no name, so nothing is left behind.
        file = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the last byte was sent)
        try:
            ledgers.export(file, by=request.user, now=now, **wanted)
        except BaseException:
            file.close()
            raise
        size = file.tell()
        file.seek(0)
        name = downloads.bundle_name(request.user.tenant, now)
        return downloads.whole(file, size, name=name)


class LedgerExports(ApiView):
    """The ledger to take away, made in the background."""

    permission_classes = (MembersOnly,)

    @extend_schema(parameters=[Query], responses=ExportShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Your exports of the last 24 hours, newest first."""
        self.asked()
        return self.page(exports.asked_for(principal=request.user), ExportShown)

    @extend_schema(request=Selected, responses={202: ExportShown})
    @idempotent
    def post(self, request: PrincipalRequest) -> Response:
        """Ask for an export: 202 and its address. For auditors and admins."""
        wanted = Selected(data=request.data).wanted()
        row = exports.ask(by=request.user, now=timezone.now(), **wanted)
        where = address("ledger-export", row.pk)
        return Response(ExportShown(row).data, status=202, headers={"Location": where})


class LedgerExportView(ApiView):
    """One export."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses=ExportShown)
    def get(self, request: PrincipalRequest, export: UUID) -> Response:
        """How far the export is. Only who asked for it sees it."""
        return Response(ExportShown(exports.access(export, principal=request.user)).data)


class LedgerExportBundle(ApiView):
    """The file of an export."""

    permission_classes = (MembersOnly,)

    @extend_schema(
        parameters=[RANGE],
        responses={**BUNDLE, (206, downloads.BUNDLE): OpenApiTypes.BINARY},
    )
    def get(self, request: PrincipalRequest, export: UUID) -> HttpResponseBase:
        """The bundle as one file, whole or a range of it."""
        row = exports.access(export, principal=request.user)
        file = exports.bundle_of(row)
        name = downloads.bundle_name(request.user.tenant, row.created_at)
        return downloads.kept(request, file, row.bytes or 0, name=name, etag=f'"{row.sha256}"')
