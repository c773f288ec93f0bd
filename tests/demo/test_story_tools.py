"""The only place for the tools that the demo tells its story with."""

from __future__ import annotations

import io
import json
import stat
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zstandard
from rich.console import Console

from countersign.processes import free_port
from demo import bundle, client
from demo.client import Client, Refused
from demo.narrator import DidNotHold, Narrator
from demo.people import SignInData


class Desk(BaseHTTPRequestHandler):
    """An API that notes what it was sent, and loses the first answer to a POST."""

    seen: list[tuple[str, dict[str, str]]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.note()
        if self.path.endswith("/away") and len(self.seen) < 3:
            self.answer({"code": "database_unavailable"}, 503, "application/problem+json")
            return
        later = "http://acme.localhost/api/v1/things?cursor=2"
        rows = [{"n": 2}] if "cursor" in self.path else [{"n": 1}]
        following = None if "cursor" in self.path else later
        if self.path.endswith("/nowhere"):
            problem = {"code": "thing_unknown", "detail": "There is no thing."}
            self.answer(problem, 404, "application/problem+json")
        else:
            self.answer({"results": rows, "next": following}, 200, "application/json")

    def do_POST(self) -> None:
        self.note()
        self.rfile.read(int(self.headers["Content-Length"]))
        if len(self.seen) == 1:
            self.close_connection = True
        else:
            self.answer({"id": 1}, 201, "application/json")

    def note(self) -> None:
        self.seen.append((self.path, dict(self.headers)))

    def answer(self, value: Any, status: int, kind: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def robo() -> Iterator[Client]:
    Desk.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Client(server.server_port, "acme", "cs_acme_key")
        server.shutdown()
        thread.join()


@pytest.fixture
def export(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.tar.zst"
    lines = [{"intent": "0f", "kind": kind} for kind in ("run.started", "approval.spent")]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
    with (
        zstandard.open(file, "wb") as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for name, content in (("entries.jsonl", text), ("manifest.json", b"{}")):
            member = tarfile.TarInfo(f"bundle/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def test_a_client_names_its_tenant_and_its_key(robo: Client) -> None:
    robo.get("/things")
    path, headers = Desk.seen[0]
    assert path == "/api/v1/things"
    assert headers["Host"] == f"acme.localhost:{robo.port}"
    assert headers["Authorization"] == "Bearer cs_acme_key"


def test_a_list_is_read_to_its_end(robo: Client) -> None:
    assert [row["n"] for row in robo.each("/things")] == [1, 2]


def test_a_lost_answer_is_asked_for_again_under_the_same_key(robo: Client) -> None:
    assert robo.post("/things", {}) == {"id": 1}
    first, second = (headers["Idempotency-Key"] for _, headers in Desk.seen)
    assert first == second


def test_a_server_whose_database_is_being_started_is_asked_again(
    robo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert robo.get("/away")["results"] == [{"n": 1}]
    assert len(Desk.seen) == 3
    Desk.seen = []
    monkeypatch.setattr(client, "PATIENCE", -1)
    with pytest.raises(Refused, match="503 database_unavailable"):
        robo.get("/away")
    assert list(robo.events("/away")) == []


def test_a_server_that_is_gone_is_asked_for_a_while(
    robo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    nowhere = Client(free_port(20_000), "acme")
    with pytest.raises(ConnectionRefusedError):
        nowhere.get("/things")
    assert list(nowhere.events("/things")) == []


def test_a_problem_says_what_was_asked_and_why_it_was_refused(robo: Client) -> None:
    with pytest.raises(Refused, match=r"GET /api/v1/nowhere.*404 thing_unknown: There is no thing"):
        robo.get("/nowhere")
    assert robo.find("/nowhere") is None


def test_sign_in_data_is_generated_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    password = SignInData(file).password("acme", "Alice")
    assert len(password) >= 20
    assert SignInData(file).password("acme", "Alice") == password
    assert SignInData(file).password("acme", "Bob") != password
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_damaged_copy_differs_in_one_bit_of_the_entry_it_names(export: Path) -> None:
    folder, index = bundle.damaged(export, "approval.spent")
    lines = (folder / bundle.ENTRIES).read_bytes().splitlines()
    assert index == 1
    assert [json.loads(line)["intent"] for line in lines] == ["0f", "1f"]


def test_what_does_not_hold_ends_the_story() -> None:
    told = io.StringIO()
    narrator = Narrator(Console(file=told))
    narrator.holds("Two is even.", condition=True)
    with pytest.raises(DidNotHold, match=r"Three is even\. It is odd\."):
        narrator.holds("Three is even.", condition=False, otherwise="It is odd.")
    assert told.getvalue() == "   ✓ Two is even.\n"
