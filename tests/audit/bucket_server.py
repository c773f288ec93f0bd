"""The only place for an S3 server of the tests' own: signatures judged by botocore, object lock.

Not moto: its server brings sixty packages, and does not look at signatures.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from audit.buckets import Answer, Request

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalr/XUtn+FEMI=K7MDENG"}
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
LOCK = ("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date")
SKEW = timedelta(minutes=15)


class Refusal(Exception):
    """An HTTP status and S3's code for why."""


class BucketServer:
    """One bucket with object lock, hence with versions: `objects[path]` has the oldest first."""

    def __init__(self, *, region="eu-central-1", token: str | None = None) -> None:
        self.region = region
        self.credentials = Credentials(
            KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], token
        )
        self.objects: dict[str, list[tuple[bytes, dict[str, str]]]] = {}
        self.requests: list[tuple[str, str]] = []
        self.can_lock = True
        self.heeds_lock = True
        self.forbidden: set[str] = set()
        self.url = ""

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        self.requests.append((method, target))
        try:
            self._authenticate(method, target, headers, body)
            return getattr(self, f"_{method.lower()}")(target, headers, body)
        except Refusal as refusal:
            status, code = refusal.args
            xml = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>"
            return status, {}, xml.encode()

    def _authenticate(self, method, target, headers, body) -> None:
        found = AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if not found or found[1] != self.credentials.access_key or found[3] != self.region:
            raise Refusal(403, "InvalidAccessKeyId")
        signed = found[4].split(";")
        unsigned = {n for n in headers if n.startswith("x-amz-") or n == "host"} - set(signed)
        if unsigned or self.credentials.token != headers.get("x-amz-security-token"):
            raise Refusal(403, "AccessDenied")
        if headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            raise Refusal(400, "XAmzContentSHA256Mismatch")
        if method in self.forbidden:
            raise Refusal(403, "AccessDenied")
        at = headers["x-amz-date"]
        if abs(datetime.strptime(f"{at}+0000", "%Y%m%dT%H%M%SZ%z") - datetime.now(UTC)) > SKEW:
            raise Refusal(403, "RequestTimeTooSkewed")
        request = AWSRequest(
            method,
            f"http://{headers['host']}{target}",
            headers={name: headers[name] for name in signed},
            data=body,
        )
        request.context["timestamp"] = at
        judge = S3SigV4Auth(self.credentials, "s3", self.region)
        text = judge.string_to_sign(request, judge.canonical_request(request))
        if not hmac.compare_digest(judge.signature(text, request), found[5]):
            raise Refusal(403, "SignatureDoesNotMatch")

    def _put(self, target, headers, body) -> tuple[int, dict[str, str], bytes]:
        if headers.get("if-none-match") == "*" and self.objects.get(target):
            raise Refusal(412, "PreconditionFailed")
        lock = {name: headers[name] for name in LOCK if name in headers}
        if lock and not self.can_lock:
            raise Refusal(400, "InvalidRequest")
        if lock and "content-md5" not in headers:
            raise Refusal(400, "InvalidRequest")
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()  # noqa: S324  (S3's choice)
        if headers.get("content-md5", md5) != md5:
            raise Refusal(400, "BadDigest")
        self.objects.setdefault(target, []).append((body, lock if self.heeds_lock else {}))
        return 200, {}, b""

    def _get(self, target, headers, body) -> tuple[int, dict[str, str], bytes]:
        if not self.objects.get(target):
            raise Refusal(404, "NoSuchKey")
        content, lock = self.objects[target][-1]
        return 200, lock, content

    def _delete(self, target, headers, body) -> tuple[int, dict[str, str], bytes]:
        path, version = urlsplit(target).path, int(parse_qs(urlsplit(target).query)["versionId"][0])
        _, lock = self.objects[path][version]
        until = lock.get("x-amz-object-lock-retain-until-date")
        if until and datetime.fromisoformat(until) > datetime.now(UTC):
            raise Refusal(403, "AccessDenied")
        del self.objects[path][version]
        return 204, {}, b""

    def signed(self, method: str, target: str, body: bytes = b"") -> Request:
        """A request signed by botocore: what somebody with the keys could do besides."""
        request = AWSRequest(method, self.url + target, data=body)
        S3SigV4Auth(self.credentials, "s3", self.region).add_auth(request)
        return Request(method, self.url + target, dict(request.headers.items()), body)


@contextlib.contextmanager
def served(server: BucketServer) -> Iterator[str]:
    """The endpoint on loopback where `server` answers."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = {name.lower(): value for name, value in self.headers.items()}
            status, headers, content = server.answer(self.command, self.path, sent, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_GET = do_DELETE = _answer  # noqa: N815  (names of http.server)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        server.url = f"http://127.0.0.1:{listening.server_port}"
        try:
            yield server.url
        finally:
            listening.shutdown()
            thread.join()


def send(request: Request) -> Answer:
    """Send a request, as the product's caller would."""
    parts = urlsplit(request.url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    with contextlib.closing(connection):
        connection.request(request.method, target, request.body, request.headers)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, answer.read())
