"""The only place where a witness speaks HTTP. Bounded: body, connections, and time for each."""

from __future__ import annotations

import logging
import re
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from audit import submissions
from audit.errors import Problem
from audit.witness.witnessing import OtherSizeKnown, Witness

MOST_CONNECTIONS = 64
# A request, its body and its answer; a connection that is kept open between two requests too.
SECONDS = 15.0
PLAIN = "text/plain; charset=utf-8"
NEWEST = re.compile("/([0-9a-f]{64})/checkpoint")

logger = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Serves one witness. Stop it with `shutdown`, from another thread, then `server_close`."""

    daemon_threads = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, host: str, port: int, witness: Witness, *, seconds: float = SECONDS) -> None:
        self.witness, self._seconds = witness, seconds
        self._deadlines: dict[Any, float] = {}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service who this host is."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or drop it when there are too many."""
        if len(self._deadlines) >= MOST_CONNECTIONS:
            self.shutdown_request(request)
            return
        self.allow_more_time(request)
        super().process_request(request, client_address)

    def allow_more_time(self, request: Any) -> None:
        """The connection begins a new request, or waits for one."""
        self._deadlines[request] = time.monotonic() + self._seconds

    def service_actions(self) -> None:
        """Cut off whoever takes too long, a byte at a time or not at all. Called twice a second."""
        now = time.monotonic()
        for request, deadline in list(self._deadlines.items()):
            if now > deadline:
                _cut_off(request, socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Let the requests under way be answered, and end."""
        for request in list(self._deadlines):
            _cut_off(request, socket.SHUT_RD)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection broke, or worse: the log has it, the others go on."""
        logger.warning("A connection from %s failed.", client_address, exc_info=sys.exception())


class Handler(BaseHTTPRequestHandler):
    """One connection: GET / and /<origin's SHA-256>/checkpoint, POST /add-checkpoint."""

    server: Server
    protocol_version = "HTTP/1.1"
    # For one read or write; the server bounds the whole.
    timeout = SECONDS

    def do_GET(self) -> None:
        """The witness's keys, or the newest checkpoint of a log as it was cosigned."""
        # Nobody reads the body of a GET, so nothing may follow one.
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        asked = NEWEST.fullmatch(self.path)
        if self.path == "/":
            keys = "".join(f"{key.verifier}\n" for key in self.server.witness.keys)
            return self._answer(200, f"A witness of transparency logs. Its keys:\n{keys}")
        note = self.server.witness.newest(asked[1]) if asked else None
        if note is None:
            return self._answer(404, "There is nothing here.\n")
        return self._answer(200, note)

    def do_POST(self) -> None:
        """add-checkpoint."""
        if self.path != "/add-checkpoint":
            return self._refuse(404, "There is nothing here.\n")
        length = self._length()
        if length is None:
            return self._refuse(411, "A submission has one Content-Length, and no other coding.\n")
        if length > submissions.LONGEST:
            return self._refuse(413, "The submission is too long.\n")
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return None
        return self._submitted(body)

    def _submitted(self, body: bytes) -> None:
        try:
            self._answer(200, self.server.witness.add_checkpoint(body))
        except OtherSizeKnown as problem:
            size = problem.details["size"]
            self._answer(problem.status, f"{size}\n", submissions.SIZE_TYPE)
        except Problem as problem:
            self._answer(problem.status, f"{problem}\n")
        except OSError:
            logger.exception("A checkpoint was not cosigned: it can't be kept.")
            self._refuse(500, "The checkpoint can't be kept now.\n")

    def _length(self) -> int | None:
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            return None
        return int(lengths[0]) if re.fullmatch("[0-9]{1,18}", lengths[0]) else None

    def _refuse(self, status: int, text: str) -> None:
        """Answer without having read the body, so the connection can't go on."""
        self.close_connection = True
        self._answer(status, text)

    def _answer(self, status: int, text: str, content_type: str = PLAIN) -> None:
        body = text.encode(errors="replace")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.server.allow_more_time(self.request)

    def version_string(self) -> str:
        """Who answers; of which version is nobody's business."""
        return "countersign-witness"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name in the base)
        """One line a request, to the program's log."""
        logger.info("%s %s", self.address_string(), format % args)


def _cut_off(request: Any, how: int) -> None:
    try:
        request.shutdown(how)
    except OSError:
        logger.debug("A connection was gone already.")
