"""The only place that tests the places outside as an operator configures them."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from django.core.exceptions import ImproperlyConfigured

from audit import signing
from audit.buckets import Request
from audit.checkpoints import KeyKind, SigningKey, VerifierKey
from audit.places import PlaceUnreachable
from audit.signing import LedgerKeyUnusable
from countersign import configuration, places, sending, witnesses
from countersign.sending import send

CAROL, ERIN = (
    SigningKey(name, Ed25519PrivateKey.generate(), KeyKind.ED25519_COSIGNATURE).verifier
    for name in ("witness.test/carol", "witness.test/erin")
)
CAROLS_OTHER = SigningKey(
    CAROL.name, MLDSA44PrivateKey.generate(), KeyKind.MLDSA44_COSIGNATURE
).verifier
A_LOGS = VerifierKey("ledger.test/acme", Ed25519PrivateKey.generate().public_key())
URL = "https://witness.test"


# Variables


def _configured(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[Any]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return list(places.opened(configuration.read(), send=send))


def test_without_any_variable_or_with_empty_ones_there_is_no_place_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert places.configured() == []
    names = ("WITNESSES", "TIMESTAMP_URL", "TIMESTAMP_AUTHORITY", "CHECKPOINT_SINK")
    assert _configured(monkeypatch, **{f"COUNTERSIGN_{name}": "" for name in names}) == []


def test_two_keys_of_one_address_are_one_witness_and_a_fragment_names_its_log() -> None:
    text = f"{CAROL}@{URL}\n  {CAROLS_OTHER}@{URL} {ERIN}@http://10.0.0.7:8765/w#ledger.test/acme\n"
    assert witnesses.parsed(text) == [
        (URL, (CAROL, CAROLS_OTHER), None),
        ("http://10.0.0.7:8765/w", (ERIN,), "ledger.test/acme"),
    ]
    assert witnesses.parsed(" \n") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COUNTERSIGN_WITNESSES", "carol"),
        ("COUNTERSIGN_WITNESSES", f"{CAROL}"),
        ("COUNTERSIGN_WITNESSES", f"{CAROL}@ftp://witness.test"),
        ("COUNTERSIGN_WITNESSES", f"{CAROL}@https://me:secret@witness.test"),
        ("COUNTERSIGN_WITNESSES", f"{CAROL}@https://witness.test/?key=1"),
        ("COUNTERSIGN_WITNESSES", f"{str(CAROL)[:-4]}AAAA@{URL}"),
        ("COUNTERSIGN_WITNESSES", f"{A_LOGS}@{URL}"),
        ("COUNTERSIGN_WITNESSES", f"{CAROL}@{URL} {ERIN}@{URL}"),
        ("COUNTERSIGN_WITNESSES", "file:///no/such/file"),
        ("COUNTERSIGN_TIMESTAMP_URL", "stamp.test"),
        ("COUNTERSIGN_TIMESTAMP_URL", "https://stamp.test"),
        ("COUNTERSIGN_TIMESTAMP_AUTHORITY", "/no/such/file"),
        ("COUNTERSIGN_TIMESTAMP_MINUTES", "0"),
        ("COUNTERSIGN_TIMESTAMP_MINUTES", "often"),
        ("COUNTERSIGN_CHECKPOINT_SINK", "/a/folder"),
        ("COUNTERSIGN_CHECKPOINT_SINK", "file:///no/such/folder"),
        ("COUNTERSIGN_CHECKPOINT_SINK", "s3://bucket"),
    ],
    ids=range(17),  # the keys are other ones in each process
)
def test_a_wrong_variable_is_named_at_boot(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=name):
        _configured(monkeypatch, **{name: value})


def test_a_bucket_without_keys_names_the_variable_and_never_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = "s3://ledgers?region=eu-central-1"
    with pytest.raises(ImproperlyConfigured, match="AWS_ACCESS_KEY_ID"):
        _configured(monkeypatch, COUNTERSIGN_CHECKPOINT_SINK=sink)
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very secret indeed"}
    with pytest.raises(ImproperlyConfigured, match="AWS_SECRET_ACCESS_KEY") as raised:
        _configured(monkeypatch, COUNTERSIGN_CHECKPOINT_SINK=sink, **keys)
    assert "very secret" not in str(raised.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (found,) = places.opened(configuration.read(), send=send)
    assert found.name == "The checkpoint sink s3://ledgers"
    assert "secret" not in repr(configuration.read())


def test_an_authority_that_can_not_be_used_is_named_at_boot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pem = tmp_path / "authority.pem"
    pem.write_text("no certificate")
    variables = {
        "COUNTERSIGN_TIMESTAMP_URL": "https://stamp.test",
        "COUNTERSIGN_TIMESTAMP_AUTHORITY": str(pem),
    }
    with pytest.raises(ImproperlyConfigured, match="COUNTERSIGN_TIMESTAMP_AUTHORITY"):
        _configured(monkeypatch, **variables)


def test_witnesses_can_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "witnesses"
    file.write_text(f"{CAROL}@{URL}\n{ERIN}@{URL}/erin\n")
    found = _configured(monkeypatch, COUNTERSIGN_WITNESSES=file.as_uri())
    names = ["The witness witness.test/carol", "The witness witness.test/erin"]
    assert [place.name for place in found] == names
    file.write_text(f"{CAROL}@nowhere\n")
    with pytest.raises(ImproperlyConfigured, match="COUNTERSIGN_WITNESSES"):
        places.opened(configuration.read(), send=send)


# The network


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(0.6)
        self.send_response(302 if self.path == "/moved" else 200)
        if self.path == "/moved":
            self.send_header("Location", "/large")
        if self.path == "/packed":
            self.send_header("Content-Encoding", "gzip")
        body = b"x" * (70_000 if self.path == "/large" else 3)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_an_answer_is_bounded_in_size_and_time(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(Request("GET", f"{server}/", {}, b"")).body == b"xxx"
    monkeypatch.setattr(sending, "SECONDS", 0.2)
    for path in ("large", "packed", "slow"):
        with pytest.raises(PlaceUnreachable):
            send(Request("GET", f"{server}/{path}", {}, b""))


def test_a_redirect_is_an_answer_and_is_not_followed(server: str) -> None:
    assert send(Request("GET", f"{server}/moved", {}, b"")).status == 302


def test_who_is_not_there_is_unreachable_and_the_message_names_the_host_alone() -> None:
    with pytest.raises(PlaceUnreachable) as raised:
        send(Request("GET", "http://127.0.0.1:9/secret-path", {}, b""))
    assert "127.0.0.1" in str(raised.value)
    assert "secret" not in str(raised.value)


# The second key


def test_an_ml_dsa_key_is_made_once_and_is_the_sequencers_alone(tmp_path: Path) -> None:
    path = tmp_path / "mldsa.key"
    first, second = signing.load_mldsa(path), signing.load_mldsa(path)
    assert first.public_key() == second.public_key()
    path.chmod(0o640)
    with pytest.raises(LedgerKeyUnusable, match="0600"):
        signing.load_mldsa(path)
    path.chmod(0o600)
    with pytest.raises(LedgerKeyUnusable, match="not an Ed25519 key"):
        signing.load(path)
    signing.load(tmp_path / "ed25519.key")
    with pytest.raises(LedgerKeyUnusable, match="not an ML-DSA-44 key"):
        signing.load_mldsa(tmp_path / "ed25519.key")


def test_the_second_key_can_be_any_pem_of_its_kind(tmp_path: Path) -> None:
    key = MLDSA44PrivateKey.generate()
    path = tmp_path / "own.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.touch(mode=0o600)
    path.write_bytes(pem)
    assert signing.load_mldsa(path).public_key() == key.public_key()
