"""The only place that speaks S3: objects that are written once, and locked.

Signatures (AWS SigV4) are `awscrt`'s: AWS's own, alone, Apache-2.0, and it takes the time as an
argument. Not botocore (twice its size, and jmespath), minio (three more packages), boto3 (five) or
aws-requests-auth (no release for years). Nothing here opens a connection: whoever calls hands in
what sends.

Non-goals: deleting, listing, and any object that does not fit into memory.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSignedBodyHeaderType,
    AwsSigningAlgorithm,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest

from audit.errors import Problem

SIGN_SECONDS = 10
RETAIN_DAYS = 3_650
MOST_DAYS = 36_500  # what S3 takes: 100 years
PARAMETERS = frozenset({"endpoint", "region", "retain_days"})
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REGION = re.compile(r"[a-z0-9-]{1,64}")
HOST = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
# What needs no escaping in a path, so that there is one spelling to sign; no segment is "..".
PLAIN_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
DAYS = re.compile(r"[1-9][0-9]{0,4}")
ERROR_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class BucketRefused(Problem):
    """The bucket did not take {location}: {reason}."""

    code = "bucket_refused"
    status = 503


class ObjectNotLocked(Problem):
    """The bucket holds {location}, but could lose it: {reason}."""

    code = "object_not_locked"
    status = 500


class Request(NamedTuple):
    """A signed HTTP request; `headers` have to be sent as they are."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What came back, whatever its status; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


# Sends a request without following redirects. What it raises goes through to the caller.
Send = Callable[[Request], Answer]


@dataclass(frozen=True)
class Credentials:
    """What signs requests to a bucket; never shown."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False, default=None)


class Address(NamedTuple):
    """A bucket, where in it ("" or `…/`), at which server (`https://host[:port]`), how long."""

    name: str
    prefix: str
    endpoint: str
    region: str
    retain: timedelta


def address_of(parts: SplitResult) -> Address:
    """What `s3://bucket/prefix?region=…&endpoint=…&retain_days=…` says.

    Without `endpoint` it is AWS's of the region. Raises ValueError with what is wrong.
    """
    given = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    if not set(given) <= PARAMETERS or any(len(values) > 1 for values in given.values()):
        raise ValueError(f"a bucket takes {', '.join(sorted(PARAMETERS))}, each once")
    chosen = {name: values[0] for name, values in given.items()}
    region, days = chosen.get("region", ""), chosen.get("retain_days", str(RETAIN_DAYS))
    if not REGION.fullmatch(region):
        raise ValueError("region=… is missing or malformed")
    if not DAYS.fullmatch(days) or int(days) > MOST_DAYS:
        raise ValueError(f"retain_days is not a number from 1 to {MOST_DAYS}")
    endpoint = _endpoint(chosen.get("endpoint", f"https://s3.{region}.amazonaws.com"))
    return Address(parts.netloc, _prefix(parts), endpoint, region, timedelta(days=int(days)))


def _prefix(parts: SplitResult) -> str:
    prefix = parts.path.strip("/")
    if not NAME.fullmatch(parts.netloc):
        raise ValueError("s3:// is not followed by the name of a bucket")
    if parts.fragment or (prefix and not PLAIN_PATH.fullmatch(prefix)):
        raise ValueError("the prefix may hold letters, digits and . _ - / alone")
    return f"{prefix}/" if prefix else ""


def _endpoint(url: str) -> str:
    """`scheme://host[:port]`, spelled as every HTTP client sends it in `Host`."""
    parts = urlsplit(url)
    host = parts.netloc.lower()
    if parts.scheme not in {"http", "https"} or not HOST.fullmatch(host):
        raise ValueError("endpoint must be http(s)://host or http(s)://host:port")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("endpoint takes no path")
    return f"{parts.scheme}://{host.removesuffix(':443' if parts.scheme == 'https' else ':80')}"


class Bucket:
    """A bucket with object lock, in which nobody can delete: not we, not its owner.

    Its server has to heed `If-None-Match: *` and the mode COMPLIANCE. That an object is locked is
    looked up after it was written: some servers take the header and do nothing.
    """

    def __init__(self, address: Address, *, credentials: Credentials, send: Send) -> None:
        self._address = address
        self._credentials = credentials
        self._send = send

    def location(self, name: str) -> str:
        """`s3://bucket/prefix/name`."""
        return f"s3://{self._address.name}/{self._address.prefix}{name}"

    def write_once(self, name: str, content: bytes, *, now: datetime) -> bytes:
        """Let the object `name` (a plain path) have `content`, unless it exists; what it has.

        1. Write it under lock, if nothing is there. 2. Read what is there now. 3. See that it is
        locked. Raises BucketRefused, ObjectNotLocked, and what sending raises.
        """
        written = self._call("PUT", name, content, self._terms(content, now), now)
        if written.status not in {200, 412}:
            raise BucketRefused(location=self.location(name), reason=_reason("writing", written))
        held = self._call("GET", name, b"", {}, now)
        if held.status != 200:
            raise BucketRefused(location=self.location(name), reason=_reason("reading", held))
        _check_locked(held.headers, self.location(name), now)
        return held.body

    def _terms(self, content: bytes, now: datetime) -> dict[str, str]:
        until = (now + self._address.retain).astimezone(UTC)
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        return {
            "content-md5": base64.b64encode(md5).decode(),  # S3 asks for it beside a lock
            "content-type": "text/plain; charset=utf-8",
            "if-none-match": "*",
            "x-amz-object-lock-mode": "COMPLIANCE",
            "x-amz-object-lock-retain-until-date": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _call(
        self, method: str, name: str, body: bytes, headers: dict[str, str], now: datetime
    ) -> Answer:
        path = f"/{self._address.name}/{self._address.prefix}{name}"
        host = urlsplit(self._address.endpoint).netloc
        request = HttpRequest(method, path, HttpHeaders([("host", host), *headers.items()]))
        aws_sign_request(request, self._signing(body, now)).result(SIGN_SECONDS)
        url = self._address.endpoint + path
        return self._send(Request(method, url, dict(request.headers), body))

    def _signing(self, body: bytes, now: datetime) -> AwsSigningConfig:
        keys = self._credentials
        return AwsSigningConfig(
            algorithm=AwsSigningAlgorithm.V4,
            signature_type=AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=AwsCredentialsProvider.new_static(
                keys.access_key, keys.secret_key, keys.session_token
            ),
            region=self._address.region,
            service="s3",
            date=now,
            use_double_uri_encode=False,  # of S3, unlike every other service
            should_normalize_uri_path=False,
            signed_body_value=hashlib.sha256(body).hexdigest(),
            signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )


def _reason(doing: str, answer: Answer) -> str:
    code = ERROR_CODE.search(answer.body)
    return f"{doing} was answered with {answer.status} {code[1].decode() if code else ''}".strip()


def _check_locked(headers: Mapping[str, str], location: str, now: datetime) -> None:
    mode = headers.get("x-amz-object-lock-mode", "none")
    stated = headers.get("x-amz-object-lock-retain-until-date", "")
    if mode != "COMPLIANCE" or not _is_later(stated, now):
        reason = f"its lock is {mode} until {stated or 'no date'}, and COMPLIANCE was asked for"
        raise ObjectNotLocked(location=location, reason=reason)


def _is_later(stated: str, now: datetime) -> bool:
    try:
        at = datetime.fromisoformat(stated)
    except ValueError:
        return False
    return at.tzinfo is not None and at > now
