"""The only place that builds logs which grow, and witnesses that watch them over HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bundle_folder import KEY, ORIGIN
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import checkpoints, proofs
from audit.checkpoints import Checkpoint, SigningKey, VerifierKey
from audit.cosigning import Answer
from audit.submissions import Submission
from audit.witness.server import Server
from audit.witness.state import State
from audit.witness.witnessing import Witness
from tests.environment import ROOT

NOW = 1_772_452_800
FREE_PORT = ("--port", "0")
LOG = VerifierKey(ORIGIN, KEY.public_key())
# Where a witness serves the newest checkpoint of LOG.
NEWEST = f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint"


class GrowingLog:
    """A log's tree at any size up to that of `history`; another history is a fork."""

    def __init__(
        self, history: str, *, origin: str = ORIGIN, key: Ed25519PrivateKey = KEY, size: int = 64
    ) -> None:
        self.leaves = [proofs.leaf_hash(f"{history} {at}".encode()) for at in range(size)]
        self.origin, self.key = origin, key

    def forked_at(self, size: int) -> GrowingLog:
        other = GrowingLog("another history", origin=self.origin, key=self.key)
        other.leaves[:size] = self.leaves[:size]
        return other

    def note(self, size: int) -> str:
        root = proofs.root_of(self.leaves[:size])
        return checkpoints.sign(Checkpoint(self.origin, size, root), self.key)

    def prove(self, old: int, new: int) -> list[bytes]:
        return proofs.prove_consistency(old, new, proofs.ranges_of(self.leaves))

    def submission(self, old: int, new: int) -> bytes:
        proof = self.prove(old, new) if 0 < old < new else []
        return bytes(Submission(old, proof, self.note(new)))


class Reply(NamedTuple):
    status: int
    content_type: str | None
    text: str


class Client:
    """Asks the witness at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = self._port = port

    def ask(self, method: str, path: str, body: bytes | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            got = connection.getresponse()
            return Reply(got.status, got.getheader("Content-Type"), got.read().decode())

    def submit(self, body: bytes) -> Reply:
        return self.ask("POST", "/add-checkpoint", body)

    def post(self, url: str, body: bytes) -> Answer:
        reply = self.ask("POST", url.removeprefix(self.url), body)
        return Answer(reply.status, reply.text.encode())


@contextlib.contextmanager
def serving(
    state: Path, keys: list[SigningKey], logs: list[VerifierKey], *, seconds: float = 15.0
) -> Iterator[Client]:
    """A witness in this process."""
    remembered = State(state, [key.verifier for key in keys], [key.name for key in logs])
    witness = Witness(keys, logs, remembered, lambda: NOW)
    server = Server("127.0.0.1", 0, witness, seconds=seconds)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Client(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        remembered.close()


def start(
    key: Path, state: Path, *logs: VerifierKey, port: int = 0
) -> tuple[subprocess.Popen[str], Client]:
    """A witness in a process of its own, once it listens; at a free port unless one is named."""
    named = [part for log in logs for part in ("--log", str(log))]
    listens = ("--port", str(port)) if port else FREE_PORT
    process = subprocess.Popen(
        [sys.executable, "-m", "audit.witness", "--key", key, "--state", state, *named, *listens],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Listening on "):
            return process, Client(int(line.rpartition(":")[2]))
    process.wait()
    raise AssertionError("the witness did not start")


def end(process: subprocess.Popen[str]) -> None:
    """Kill it (-9), whatever it does."""
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def is_cosigned(note: str, lines: str, own: list[SigningKey]) -> bool:
    """Whether `lines` are the cosignatures of all these keys for the checkpoint, dated NOW."""
    text = checkpoints.read(note).text
    found = checkpoints.signed_by(f"{text}\n{lines}", [key.verifier for key in own])
    return [(each.key, each.seconds) for each in found] == [(key.verifier, NOW) for key in own]
