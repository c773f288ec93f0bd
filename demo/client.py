"""The only place where the demo speaks HTTP to Countersign: as any client of its REST API would."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

ROOT = "/api/v1"
SECONDS = 60
# A process or a database that died is up again in less.
PATIENCE = 30
PAUSE = 0.3
UNAVAILABLE = 503
LOST = (ConnectionError, http.client.HTTPException)


class Answer(NamedTuple):
    """A status, headers in lower case, and a body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value; None where there is no body."""
        return json.loads(self.body) if self.body else None


class Refused(Exception):
    """The API answered with a problem (RFC 9457)."""

    def __init__(self, asked: str, answer: Answer) -> None:
        is_problem = answer.headers.get("content-type", "").startswith("application/problem")
        problem: dict[str, Any] = answer.json() if is_problem else {}
        self.status = answer.status
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail") or answer.body[:300].decode(errors="replace"))
        more = f" {json.dumps(problem['errors'])}" if problem.get("errors") else ""
        super().__init__(f"{asked} was answered {self.status} {self.code}: {self.detail}{more}")


class Client:
    """Somebody at a tenant's host, with a token or a service key.

    `acme.localhost` may not resolve on this machine: the connection goes to 127.0.0.1 and the
    name travels in the Host header.
    """

    def __init__(self, port: int, tenant: str, token: str = "") -> None:
        self.port = port
        self.tenant = tenant
        self.token = token

    def sign_in(self, email: str, password: str) -> Self:
        """Take a token for the member with this address and password. Raises Refused."""
        asked = {"email": email, "password": password}
        self.token = self.post("/sign-in", asked)["token"]
        return self

    def get(self, path: str, **query: Any) -> Any:
        """What is at `path`. Raises Refused."""
        return self.fetch(path, **query).json()

    def fetch(self, path: str, **query: Any) -> Answer:
        """What is at `path`, as bytes. Raises Refused."""
        return self._accepted("GET", _with(path, query))

    def each(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every row of a list, page by page. Raises Refused."""
        wanted: str | None = _with(path, query)
        while wanted:
            page = self._accepted("GET", wanted).json()
            yield from page["results"]
            link = urlsplit(page["next"] or "")
            wanted = f"{link.path.removeprefix(ROOT)}?{link.query}" if link.path else None

    def find(self, path: str) -> Any:
        """What is at `path`, or None where there is nothing. Raises Refused."""
        try:
            return self.get(path)
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    def post(self, path: str, body: Any) -> Any:
        """Create or act; a lost answer is asked for again under the same key. Raises Refused."""
        return self._send("POST", path, body).json()

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """The server-sent events at `path` (WHATWG), each with its name, while they come.

        They end where the server is lost. Raises Refused, TimeoutError where it shows no sign of
        life for a minute.
        """
        with contextlib.suppress(*LOST):
            connection, response = self._request("GET", path)
            with contextlib.closing(connection):
                if response.status == UNAVAILABLE:
                    return
                if response.status >= 400:
                    raise Refused(f"GET {ROOT}{path}", _answer(response))
                yield from _events(response)

    def put(self, path: str, body: Any) -> Any:
        """Replace what is at `path`. Raises Refused."""
        return self._send("PUT", path, body).json()

    def patch(self, path: str, body: Any) -> Any:
        """Change what is given of what is at `path`. Raises Refused."""
        return self._send("PATCH", path, body).json()

    def refusal(self, path: str, body: Any) -> tuple[str, str]:
        """Code and words with which a POST is refused; "nothing" where it is accepted."""
        try:
            self.post(path, body)
        except Refused as refused:
            return refused.code, refused.detail
        return "nothing", "it was accepted"

    def upload(self, path: str, filename: str, content: bytes, **fields: str) -> Any:
        """Send a file as multipart/form-data. Raises Refused."""
        boundary = uuid4().hex
        body = _form(boundary, filename, content, fields)
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._accepted("POST", path, body, {**kind, **_key()}).json()

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, whatever the answer; repeated while nobody answers, or only with 503.

        Each body has an Idempotency-Key, under which nothing happens twice.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self._ask(method, path, body, headers)
            except LOST:
                if time.monotonic() > deadline:
                    raise
            else:
                if answer.status != UNAVAILABLE or time.monotonic() > deadline:
                    return answer
            time.sleep(PAUSE)

    def _ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> Answer:
        connection, response = self._request(method, path, body, headers)
        with contextlib.closing(connection):
            return _answer(response)

    def _request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        sent = {"Host": f"{self.tenant}.localhost:{self.port}", **(headers or {})}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        connection.request(method, ROOT + path, body=body or None, headers=sent)
        return connection, connection.getresponse()

    def _send(self, method: str, path: str, body: Any) -> Answer:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **_key()}
        return self._accepted(method, path, data, headers)

    def _accepted(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        answer = self.ask(method, path, body, headers)
        if answer.status >= 400:
            raise Refused(f"{method} {ROOT}{path}", answer)
        return answer


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    name = ""
    for raw in response:
        field, _, value = raw.decode().rstrip("\r\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _answer(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def _key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def _with(path: str, query: Mapping[str, Any]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _form(boundary: str, filename: str, content: bytes, fields: Mapping[str, str]) -> bytes:
    """RFC 7578: each field, then the file."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
    parts.append(f"--{boundary}\r\n{head}\r\nContent-Type: application/octet-stream\r\n\r\n")
    return "".join(parts).encode() + content + f"\r\n--{boundary}--\r\n".encode()
