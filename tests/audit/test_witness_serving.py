"""The only place that tests how a witness speaks HTTP, to the slow and the strange too."""

from __future__ import annotations

import http.client
import socket
import time

import pytest
from own_witness import LOG, NEWEST, GrowingLog, serving

from audit import checkpoints, submissions
from audit.witness import server

ACME = GrowingLog("acme")


def test_the_front_page_tells_the_keys_and_nothing_secret(client, own, key_file):
    reply = client.ask("GET", "/")
    assert reply.status == 200
    assert [line for line in reply.text.splitlines() if "+" in line] == [
        str(key.verifier) for key in own
    ]
    seeds = [line.split("+", 4)[4] for line in key_file.read_text().splitlines()]
    assert not any(seed in reply.text for seed in seeds)


def test_the_newest_checkpoint_is_served_with_both_signatures(client, own):
    assert client.ask("GET", NEWEST).status == 404
    client.submit(ACME.submission(0, 5))
    client.submit(ACME.submission(5, 9))
    note = client.ask("GET", NEWEST).text
    assert checkpoints.verify(note, LOG).size == 9
    assert len(checkpoints.signed_by(note, [key.verifier for key in own])) == 2


@pytest.mark.parametrize("path", ["/nowhere", "/add-checkpoint", "/..%2fwitness.key", "/?"])
def test_there_is_nothing_else(client, path):
    assert client.ask("GET", path).status == 404
    assert client.ask("POST", "/nowhere", b"x").status == 404
    assert client.ask("DELETE", "/add-checkpoint").status == 501


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (f"Content-Length: {submissions.LONGEST + 1}\r\n", b"413"),
        ("", b"411"),
        ("Content-Length: x\r\n", b"411"),
        ("Content-Length: -1\r\n", b"411"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", b"411"),
        ("Transfer-Encoding: chunked\r\n", b"411"),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"411"),
    ],
)
def test_a_body_that_is_too_long_or_of_unknown_length_is_not_read(client, headers, status):
    with socket.create_connection(("127.0.0.1", int(client.url.rpartition(":")[2]))) as raw:
        raw.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n" + headers.encode() + b"\r\n")
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_one_connection_serves_many_requests(client):
    connection = http.client.HTTPConnection("127.0.0.1", int(client.url.rpartition(":")[2]))
    for old, new in ((0, 3), (3, 9), (8, 9), (9, 12)):
        connection.request("POST", "/add-checkpoint", ACME.submission(old, new))
        reply = connection.getresponse()
        assert reply.status == (409 if old == 8 else 200)
        reply.read()
    connection.close()


@pytest.mark.parametrize(
    "sent", [b"", b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99\r\n\r\n"]
)
def test_whoever_is_slow_is_cut_off(tmp_path, own, sent):
    with serving(tmp_path / "slow", own, [LOG], seconds=0.2) as client:
        address = ("127.0.0.1", int(client.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=10) as raw:
            raw.sendall(sent)
            assert raw.recv(1) == b""


def test_too_many_connections_are_dropped_and_then_served_again(client, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    address = ("127.0.0.1", int(client.url.rpartition(":")[2]))
    idle = [socket.create_connection(address, timeout=10) for _ in range(2)]
    time.sleep(0.2)
    with socket.create_connection(address, timeout=10) as third:
        assert third.recv(1) == b""
    for each in idle:
        each.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert client.ask("GET", "/").status == 200
        except (ConnectionError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            return
    pytest.fail("it never served again")
