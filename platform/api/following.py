"""The only place where clients of tlog-tiles follow a tenant's ledger (C2SP tlog-tiles)."""

from __future__ import annotations

import hashlib

from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from api.authentication import MembersOnly, PrincipalRequest
from api.views import ApiView
from runtime import ledgers

# Private: it is read with a key or a session. A tile never changes; the checkpoint does in seconds.
SHORTLY = "private, max-age=2"
FOR_LONG = "private, max-age=31536000, immutable"


class LogCheckpoint(ApiView):
    """What the log vouches for, as a note."""

    permission_classes = (MembersOnly,)

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: PrincipalRequest) -> HttpResponseBase:
        """The newest checkpoint with its cosignatures (C2SP tlog-checkpoint), for any tlog client.

        For auditors and admins, as are the tiles beside it.
        """
        note = ledgers.checkpoint_note(principal=request.user)
        return _answer(request, note.encode(), "text/plain; charset=utf-8", SHORTLY)


class LogTile(ApiView):
    """A part of the log's tree, or of its entries."""

    permission_classes = (MembersOnly,)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "path",
                OpenApiTypes.STR,
                OpenApiParameter.PATH,
                description="`tile/<L>/<N>[.p/<W>]` for hashes, `tile/entries/<N>[.p/<W>]` for the"
                " entries' bytes; partial ones up to the newest checkpoint.",
            )
        ],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: PrincipalRequest, path: str) -> HttpResponseBase:
        """A tile of hashes or an entry bundle (C2SP tlog-tiles). It never changes."""
        found = ledgers.tile(path, principal=request.user)
        return _answer(request, found, "application/octet-stream", FOR_LONG)


def _answer(
    request: PrincipalRequest, content: bytes, media_type: str, caching: str
) -> HttpResponseBase:
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": caching, "Vary": "Authorization, Cookie"}
    made = HttpResponse(content, content_type=media_type, headers=headers)
    return get_conditional_response(request, etag=etag, response=made) or made
