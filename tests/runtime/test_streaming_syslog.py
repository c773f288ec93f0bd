"""Streams to syslog: RFC 5424 over TCP or TLS; a batch counts once the receiver has read it all."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cast import Cast
from django.conf import LazySettings
from siem import SyslogServer, certificate, read_all
from streaming import Clock, deliver, from_now_on, happen, is_genuine, ledger_size, names

from audit.events import registry
from countersign import reference
from runtime import streams, syslog
from runtime.handover import NotTaken
from runtime.models import Stream
from tenants import outgoing

# RFC 5424, 6: HEADER SP STRUCTURED-DATA SP MSG.
MESSAGE = re.compile(
    rb"<(?P<priority>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"
    rb" (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<process>[!-~]{1,128})"
    rb" (?P<id>[!-~]{1,32}) (?P<data>\[[^]]*\]) (?P<text>.*)",
    re.DOTALL,
)


@pytest.fixture(autouse=True)
def at_home(settings: LazySettings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


def stream_to(server: SyslogServer, cast: Cast, clock: Clock, **wanted: Any) -> Stream:
    return from_now_on(cast, "syslog", server.address, now=clock.now, **wanted)[0]


def parsed(message: bytes) -> dict[str, bytes]:
    match = MESSAGE.fullmatch(message)
    assert match, message
    return match.groupdict()


def data(server: SyslogServer) -> list[dict[str, Any]]:
    return [json.loads(parsed(message)["text"]) for message in server.messages]


def test_each_entry_is_one_message_in_the_order_of_the_log(acme: Cast, clock: Clock) -> None:
    with SyslogServer() as server:
        stream = stream_to(server, acme, clock)
        first = ledger_size()
        happen(acme, "1", "é☃", "3")
        assert deliver(stream, clock) == 1
    assert [each["index"] for each in data(server)] == [first, first + 1, first + 2]
    assert names(data(server)) == ["1", "é☃", "3"]
    assert all(is_genuine(each) for each in data(server))
    assert stream.cursor == first + 3


def test_a_message_says_what_it_is_in_its_header(acme: Cast, clock: Clock) -> None:
    with SyslogServer() as server:
        stream = stream_to(server, acme, clock)
        happen(acme, "1")
        deliver(stream, clock)
    found = parsed(server.messages[0])
    assert int(found["priority"]) == 13 * 8 + syslog.NOTICE
    assert found["app"] == b"countersign"
    assert found["process"] == b"-"
    assert found["id"] == b"ledger.viewed"
    assert found["host"] == b"acme.localhost"
    assert found["time"].decode() == data(server)[0]["entry"]["recorded_at"]
    assert found["data"] == b'[origin software="countersign"]'


def test_the_operator_s_own_enterprise_number_names_tenant_and_index(
    acme: Cast, clock: Clock, settings: LazySettings
) -> None:
    settings.ENTERPRISE_NUMBER = 64_999
    with SyslogServer() as server:
        stream = stream_to(server, acme, clock)
        happen(acme, "1")
        deliver(stream, clock)
        assert streams.test(stream, by=acme.alice, now=clock.now) is None
    entry, test = map(parsed, server.messages)
    place = stream.cursor - 1
    assert entry["data"].decode() == f'[countersign@64999 tenant="acme" index="{place}"]'
    assert test["data"] == b'[countersign@64999 tenant="acme"]'


def test_every_kind_has_a_severity_and_fits_into_a_msgid() -> None:
    reference.load_everything()
    kinds = {kind for kind, made in registry().items() if reference.is_ours(made)}
    assert max(map(len, kinds)) <= syslog.LONGEST_MSGID
    assert {syslog.severity(kind) for kind in kinds} == {3, 4, 5, 6}
    assert syslog.severity("effect.unknown") == syslog.ERROR
    assert syslog.severity("erasure.rejected") == syslog.WARNING
    assert syslog.severity("grant.given") == syslog.NOTICE
    assert syslog.severity("run.started") == syslog.INFORMATIONAL


def test_over_tls_the_receiver_is_known_by_the_stream_s_authority(
    acme: Cast, clock: Clock, tmp_path: Path
) -> None:
    tls, pem = certificate(tmp_path)
    with SyslogServer(tls=tls) as server:
        stream = stream_to(server, acme, clock, authority=pem)
        happen(acme, "1", "2")
        assert deliver(stream, clock) == 1, stream.error
    assert names(data(server)) == ["1", "2"]


@pytest.mark.parametrize("trusted", [False, True], ids=["unknown", "of another host"])
def test_a_receiver_with_a_bad_certificate_gets_nothing(
    acme: Cast, clock: Clock, tmp_path: Path, trusted: bool
) -> None:
    tls, pem = certificate(tmp_path, "127.0.0.2" if trusted else "127.0.0.1")
    with SyslogServer(tls=tls) as server:
        stream = stream_to(server, acme, clock, authority=pem if trusted else "")
        happen(acme, "1")
        assert deliver(stream, clock) == 0
    assert server.messages == []
    assert "certificate is not trusted" in (stream.error or "")


def test_a_receiver_that_is_down_gets_everything_once_it_is_up(acme: Cast, clock: Clock) -> None:
    with SyslogServer() as first:
        stream = stream_to(first, acme, clock)
    happen(acme, "1", "2")
    assert deliver(stream, clock) == 0
    assert stream.error == "The receiver did not take it: it can't be reached."
    clock.wait(2)
    with SyslogServer(port=first.port) as second:
        assert deliver(stream, clock) == 1
    assert names(data(second)) == ["1", "2"]


async def dies_in_between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Reads a part, and is gone with the rest unread, as a killed process: a reset."""
    part = await reader.readexactly(100)
    writer.transport.abort()
    return part


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Reads everything, but then resets the connection."""
    found = await reader.read()
    peer = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
    return found


@pytest.mark.parametrize("behave", [dies_in_between, hangs_up])
def test_what_a_receiver_has_not_read_to_the_end_is_sent_again(
    acme: Cast, clock: Clock, behave: Any
) -> None:
    with SyslogServer(behave) as server:
        stream = stream_to(server, acme, clock)
        before = stream.cursor
        happen(acme, *[f"{n:04}" * 1_000 for n in range(60)])
        assert deliver(stream, clock) == 0
        assert stream.cursor == before
        assert "the connection broke" in (stream.error or "")
        server.batches.clear()
        server.behave = read_all
        clock.wait(2)
        deliver(stream, clock)
    assert [name[:4] for name in names(data(server))] == [f"{n:04}" for n in range(60)]
    assert len(server.batches) == 3  # bounded by bytes


async def sips(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bytes:
    """Takes little at a time, so that the sender's writes are partial ones."""
    found = b""
    while part := await reader.read(1_000):
        found += part
        await asyncio.sleep(0.001)
    return found


def test_partial_writes_lose_and_double_nothing(acme: Cast, clock: Clock) -> None:
    with SyslogServer(sips) as server:
        stream = stream_to(server, acme, clock)
        happen(acme, *[f"{n:03}" * 10_000 for n in range(4)])
        assert deliver(stream, clock) == 1
    assert [name[:3] for name in names(data(server))] == ["000", "001", "002", "003"]
    assert all(is_genuine(each) for each in data(server))


async def says_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bytes:
    """Reads everything and does not close."""
    found = await reader.read()
    await asyncio.sleep(5)
    return found


@pytest.mark.parametrize("with_tls", [False, True])
def test_a_receiver_that_never_closes_its_side_did_not_take_it(
    acme: Cast, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_tls: bool
) -> None:
    tls, pem = certificate(tmp_path)
    monkeypatch.setattr(syslog, "SECONDS", 0.5)
    monkeypatch.setattr(asyncio.sslproto.SSLProtocol, "_start_shutdown", lambda _: None)
    with SyslogServer(says_nothing, tls=tls if with_tls else None) as server:
        stream = stream_to(server, acme, clock, authority=pem if with_tls else "")
        before = stream.cursor
        happen(acme, "1")
        deliver(stream, clock)
    assert stream.cursor == before
    assert stream.error, "it was taken"


def test_over_tls_an_end_without_a_closure_alert_is_no_yes(
    acme: Cast, clock: Clock, tmp_path: Path
) -> None:
    """Anybody between the two could end the connection; the alert only the receiver can send."""
    tls, pem = certificate(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def read_all_and_cut() -> None:
            with tls.wrap_socket(server.accept()[0], server_side=True) as taken:
                while taken.recv(10_000):
                    pass
                taken.shutdown(socket.SHUT_RDWR)  # of the wire, without a word of TLS

        address = f"tls://127.0.0.1:{server.getsockname()[1]}"
        stream, _ = from_now_on(acme, "syslog", address, authority=pem, now=clock.now)
        before = stream.cursor
        happen(acme, "1")
        receiver = threading.Thread(target=read_all_and_cut)
        receiver.start()
        deliver(stream, clock)
        receiver.join()
    assert stream.cursor == before
    assert "without TLS's closure alert" in (stream.error or "")


def test_a_private_address_is_not_connected_to(
    acme: Cast, clock: Clock, settings: LazySettings
) -> None:
    with SyslogServer() as server:
        stream = stream_to(server, acme, clock)
        settings.ALLOW_PRIVATE_ADDRESSES = False
        happen(acme, "1")
        deliver(stream, clock)
    assert server.batches == []
    assert "not on the public internet" in (stream.error or "")


def test_a_name_that_leads_to_a_private_address_is_not_connected_to(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = False
    answers = [(2, 1, 6, "", ("8.8.8.8", 6514)), (2, 1, 6, "", ("10.0.0.1", 6514))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(NotTaken, match=r"siem\.test may not be used"):
        syslog.send(outgoing.peer_of("tls://siem.test:6514"), [b"1 x"], authority="")


def test_a_test_says_what_happened_and_moves_no_cursor(acme: Cast, clock: Clock) -> None:
    with SyslogServer() as server:
        stream = stream_to(server, acme, clock)
        assert streams.test(stream, by=acme.alice, now=clock.now) is None
    sent = parsed(server.messages[0])
    assert sent["id"] == b"stream.test"
    assert json.loads(sent["text"])["type"] == "ledger.test"
    before = stream.cursor
    problem = streams.test(stream, by=acme.alice, now=clock.now)
    assert str(problem) == "The receiver did not take it: it can't be reached."
    stream.refresh_from_db()
    assert (stream.cursor, stream.error) == (before, None)
