"""The only place for a timestamping authority of the tests' own: OpenSSL's, behind HTTP."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TST_INFO = "1.2.840.113549.1.9.16.1.4"
YEARS = timedelta(days=3650)

SETTINGS = """
[stamping]
dir = {folder}
serial = {folder}/serial
signer_cert = {folder}/signer.pem
signer_key = {folder}/signer.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = {digests}
ess_cert_id_alg = sha256
{certs}
"""


def need_openssl() -> None:
    """Skip where there is no `openssl`; in CI that is a failure."""
    if shutil.which("openssl") is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to have the program openssl")
        pytest.skip("the program openssl is not installed")


class Identity:
    """A key and its certificate, issued by another identity or by itself."""

    def __init__(
        self,
        name: str,
        *,
        by: Identity | None = None,
        usages: list[x509.ObjectIdentifier] | None = None,
        valid: tuple[datetime, datetime] | None = None,
    ) -> None:
        now = datetime.now(UTC)
        begin, end = valid or (now - YEARS, now + YEARS)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        is_ca = usages is None
        builder = (
            x509.CertificateBuilder(self.name if by is None else by.name, self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=True)
        self.certificate = builder.sign((by or self).key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        plain = serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, form, plain)


class Authority:
    """A root, an intermediate, a signer, and what OpenSSL needs to stamp with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Identity("Root of the tests")
        self.intermediate = Identity("Intermediate of the tests", by=self.root)
        self.answer: tuple[int, bytes] | None = None  # instead of a timestamp
        self.last = b""
        self.sign_with(self.signer())
        self.write_settings()

    def signer(self, **details) -> Identity:
        details = {"usages": [ExtendedKeyUsageOID.TIME_STAMPING], **details}
        return Identity("Stamper of the tests", by=self.intermediate, **details)

    def sign_with(self, signer: Identity) -> None:
        (self.folder / "signer.pem").write_bytes(signer.pem)
        (self.folder / "signer.key").write_bytes(signer.key_pem)

    def write_settings(self, *, digests="sha256", send=()) -> None:
        """Accept `digests`, and send the certificates of `send` besides the signer's."""
        (self.folder / "sent.pem").write_bytes(b"".join(identity.pem for identity in send))
        certs = f"certs = {self.folder}/sent.pem" if send else ""
        text = SETTINGS.format(folder=self.folder, digests=digests, certs=certs)
        (self.folder / "settings").write_text(text)

    @property
    def pem(self) -> bytes:
        return self.root.pem + self.intermediate.pem

    def stamp(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        openssl(
            *("ts", "-reply", "-config", self.folder / "settings", "-section", "stamping"),
            *("-queryfile", self.folder / "query", "-out", self.folder / "reply"),
        )
        self.last = (self.folder / "reply").read_bytes()
        return self.last

    def stamp_anew(self, response: bytes, *, change: Callable[[bytes], bytes] = bytes) -> bytes:
        """`response`, changed and signed again by whoever signs now, fit to sign stamps or not.

        `change` is of its TSTInfo. Made of a CMS message, which may be signed by anybody.
        """
        (self.folder / "old").write_bytes(response)
        token, content = self.folder / "token", self.folder / "content"
        openssl("ts", "-reply", "-in", self.folder / "old", "-token_out", "-out", token)
        openssl("cms", "-verify", "-noverify", "-inform", "DER", "-in", token, "-out", content)
        content.write_bytes(change(content.read_bytes()))
        openssl(
            *("cms", "-sign", "-binary", "-nodetach", "-nosmimecap", "-cades", "-outform", "DER"),
            *("-econtent_type", TST_INFO, "-signer", self.folder / "signer.pem"),
            *("-inkey", self.folder / "signer.key", "-in", content, "-out", token),
        )
        openssl("ts", "-reply", "-in", token, "-token_in", "-out", self.folder / "new")
        return (self.folder / "new").read_bytes()

    def openssl_accepts(self, note_text: bytes, response: bytes, *, pem=None, at=None) -> bool:
        """The verdict of `openssl ts -verify`, as of now or of `at`."""
        names = {"note": note_text, "response": response, "authority": pem or self.pem}
        for name, content in names.items():
            (self.folder / name).write_bytes(content)
        as_of = ["-attime", str(int(at.timestamp()))] if at else []
        verdict = subprocess.run(
            shlex.split("openssl ts -verify -data note -in response -CAfile authority") + as_of,
            cwd=self.folder,
            capture_output=True,
            check=False,
        )
        return verdict.returncode == 0


def dated(at: datetime) -> Callable[[bytes], bytes]:
    """Put another time into a TSTInfo."""
    return lambda content: re.sub(rb"\d{14}Z", f"{at:%Y%m%d%H%M%SZ}".encode(), content)


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=True)


@contextlib.contextmanager
def served(authority: Authority) -> Iterator[str]:
    """The URL on loopback where `authority` answers (RFC 3161, 3.4)."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Type"] != "application/timestamp-query":
                status, body = 415, b"not a timestamp query"
            else:
                status, body = authority.answer or (200, authority.stamp(query))
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/stamp"
        finally:
            server.shutdown()
            thread.join()


class NotOk(Exception):
    """What `post` raises for an answer that is not 200."""


def post(url: str, body: bytes, content_type: str) -> bytes:
    """Send a body, as the product's caller would."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", parts.path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        if answer.status != 200:
            raise NotOk(answer.status)
        return answer.read()
