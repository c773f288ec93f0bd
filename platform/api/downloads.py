"""The only place that sends files: whole, or one range of a kept one (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import IO

from asgiref.sync import sync_to_async
from django.http import HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from api import problems
from audit.errors import Problem

CHUNK = 256 * 1024
ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
BUNDLE = "application/zstd"


class RangeNotSatisfiable(Problem):
    """The file has {bytes} bytes; there is nothing in the range that was asked for."""

    code = "range_not_satisfiable"
    status = 416


def bundle_name(tenant: str, now: datetime) -> str:
    """The name that a bundle is saved under."""
    return f"ledger-{tenant}-{now:%Y%m%dT%H%M%SZ}.tar.zst"


def whole(file: IO[bytes], size: int, *, name: str) -> StreamingHttpResponse:
    """The bundle `file`, from where it stands; it is closed at the end."""
    return _sent(file, size, {"Content-Disposition": f'attachment; filename="{name}"'})


def kept(request: Request, file: IO[bytes], size: int, *, name: str, etag: str) -> HttpResponseBase:
    """The bundle `file`, or the range of it that is asked for; it is closed at the end.

    `etag` (quoted) names its content. Several ranges at once are answered with all of it.
    """
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Accept-Ranges": "bytes",
        "ETag": etag,
    }
    unchanged = get_conditional_response(request, etag=etag)
    if unchanged is not None:
        file.close()
        return unchanged
    if request.method == "HEAD":
        file.close()
        return HttpResponse(content_type=BUNDLE, headers={**headers, **_facts(size)})
    if request.headers.get("If-Range", etag) != etag:
        return _sent(file, size, headers)
    match = ONE_RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or match.groups() == ("", ""):
        return _sent(file, size, headers)
    return _ranged(file, size, headers, *match.groups())


def _ranged(
    file: IO[bytes], size: int, headers: dict[str, str], first: str, last: str
) -> HttpResponseBase:
    """From `first` to `last`, both included; without `first` the last `last` bytes."""
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        file.close()
        return _nothing_there(size)
    file.seek(start)
    response = _sent(file, end - start, headers)
    response.status_code = 206
    response["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return response


def _nothing_there(size: int) -> JsonResponse:
    members = problems.body_of(RangeNotSatisfiable(bytes=size))
    return JsonResponse(
        members,
        status=RangeNotSatisfiable.status,
        content_type=problems.MEDIA_TYPE,
        headers={"Content-Range": f"bytes */{size}"},
    )


def _sent(file: IO[bytes], size: int, headers: dict[str, str]) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        _chunks(file, size),
        content_type=BUNDLE,
        headers={**headers, **_facts(size)},
    )


def _facts(size: int) -> dict[str, str]:
    return {"Content-Length": str(size), "Cache-Control": "no-store"}


async def _chunks(file: IO[bytes], size: int) -> AsyncIterator[bytes]:
    """`size` bytes of the file, read in a thread of the pool; the file is closed at the end."""
    read = sync_to_async(file.read, thread_sensitive=False)
    try:
        while size and (chunk := await read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk
    finally:
        file.close()
