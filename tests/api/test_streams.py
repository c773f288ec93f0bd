"""Streams to a SIEM through the API: who may do what, what is shown, and what is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from callers import Caller
from cast import Cast
from django.conf import LazySettings
from sealing import seal
from siem import SyslogServer, WebhookServer

from audit import queries
from runtime.models import Stream

SYSLOG = {"slug": "siem", "kind": "syslog", "address": "tls://siem.acme.example:6514"}
WEBHOOK = {"slug": "hook", "kind": "webhook", "address": "https://siem.acme.example/in?key=k"}


@pytest.fixture(autouse=True)
def published(acme: Cast) -> None:
    seal()


@pytest.fixture
def server(settings: LazySettings) -> Iterator[WebhookServer]:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    with WebhookServer() as made:
        yield made


def made(caller: Caller, wanted: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = caller.post("ledger/streams", {**wanted, **more})
    assert answer.status_code == 201, answer.content
    shown: dict[str, Any] = answer.json()
    return shown


def events(kind: str) -> list[dict[str, Any]]:
    return [entry.event for entry in queries.entries(kind=kind)]


def test_an_admin_makes_a_stream_and_its_secret_is_shown_once(alice: Caller) -> None:
    answer = alice.post("ledger/streams", WEBHOOK)
    shown = answer.json()
    assert answer.headers["Location"] == "/api/v1/ledger/streams/hook"
    assert shown.pop("secret").startswith("whsec_")
    assert alice.get("ledger/streams/hook").json() == shown
    assert alice.get("ledger/streams").json()["results"] == [shown]
    assert shown["cursor"] == 0
    assert shown["lag"] > 0
    assert shown["enabled"] is True


def test_a_syslog_stream_has_no_secret(alice: Caller) -> None:
    assert made(alice, SYSLOG, cursor=None)["secret"] is None
    shown = alice.get("ledger/streams/siem").json()
    assert shown["lag"] == 0
    answer = alice.post("ledger/streams/siem/secret")
    assert (answer.status_code, answer.json()["code"]) == (422, "stream_invalid")


def test_auditors_read_and_do_not_change(alice: Caller, carol: Caller) -> None:
    made(alice, WEBHOOK)
    assert carol.get("ledger/streams/hook").status_code == 200
    assert len(carol.get("ledger/streams").json()["results"]) == 1
    assert carol.post("ledger/streams", SYSLOG).status_code == 403
    assert carol.patch("ledger/streams/hook", {"enabled": False}).status_code == 403
    assert carol.post("ledger/streams/hook/secret").status_code == 403
    assert carol.post("ledger/streams/hook/test").status_code == 403
    assert carol.delete("ledger/streams/hook").status_code == 403
    assert Stream.objects.get().enabled


@pytest.mark.parametrize("who", ["bob", "dave", "victor", "robo"])
def test_nobody_else_sees_one(alice: Caller, who: str, request: pytest.FixtureRequest) -> None:
    made(alice, WEBHOOK)
    caller: Caller = request.getfixturevalue(who)
    assert caller.get("ledger/streams").status_code == 403
    assert caller.get("ledger/streams/hook").status_code == 403
    assert caller.post("ledger/streams", SYSLOG).status_code == 403
    assert caller.post("ledger/streams/hook/test").status_code == 403


def test_another_tenant_s_stream_is_not_there(alice: Caller, mallory: Caller) -> None:
    made(alice, WEBHOOK)
    for answer in [
        mallory.get("ledger/streams/hook"),
        mallory.patch("ledger/streams/hook", {"enabled": False}),
        mallory.post("ledger/streams/hook/test"),
        mallory.post("ledger/streams/hook/secret"),
        mallory.delete("ledger/streams/hook"),
    ]:
        assert (answer.status_code, answer.json()["code"]) == (404, "stream_unknown")
    assert mallory.get("ledger/streams").json()["results"] == []


def test_every_change_is_an_entry_without_a_secret_in_it(alice: Caller) -> None:
    secret = made(alice, WEBHOOK, selection="run.")["secret"]
    alice.patch("ledger/streams/hook", {"enabled": False, "cursor": 3})
    rotated = alice.post("ledger/streams/hook/secret").json()["secret"]
    alice.patch("ledger/streams/hook", {"enabled": False})  # changes nothing
    alice.delete("ledger/streams/hook")
    assert events("stream.created") == [
        {
            "stream": "hook",
            "receiver_kind": "webhook",
            "receiver": "https://siem.acme.example",
            "selection": "run.",
            "cursor": 0,
        }
    ]
    rotation, change = events("stream.changed")
    assert rotation["changed"] == ["secret"]
    assert change == {
        "stream": "hook",
        "changed": ["cursor", "enabled"],
        "receiver": "https://siem.acme.example",
        "selection": "run.",
        "enabled": False,
        "cursor": 3,
    }
    assert events("stream.deleted") == [{"stream": "hook", "cursor": 3}]
    told = json.dumps(events("stream."))
    assert secret not in told
    assert rotated not in told
    assert "key=k" not in told
    assert secret != rotated
    assert alice.get("ledger/streams/hook").status_code == 404


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"address": "udp://siem.test:514"}, "address_refused"),
        ({"address": "tcp://127.0.0.1:514"}, "address_refused"),
        ({"address": "https://siem.test/"}, "address_refused"),
        ({"kind": "webhook", "address": "tls://siem.test:6514"}, "address_refused"),
        ({"kind": "webhook", "address": "http://10.0.0.1/"}, "address_refused"),
        ({"kind": "webhook", "address": "https://u:p@siem.test/"}, "address_refused"),
        ({"kind": "webhook", "address": "https://siem.test/#x"}, "stream_invalid"),
        ({"authority": "no certificate"}, "stream_invalid"),
        ({"address": "tcp://siem.test:1", "authority": "x"}, "stream_invalid"),
        ({"selection": "Run."}, "stream_invalid"),
        ({"selection": "%"}, "stream_invalid"),
        ({"cursor": 10**9}, "stream_invalid"),
        ({"slug": "a.b"}, "stream_invalid"),
        ({"slug": "A"}, "invalid"),
        ({"kind": "smoke"}, "invalid"),
        ({"cursor": -1}, "invalid"),
        ({"secret": "mine"}, "invalid"),
    ],
)
def test_a_stream_that_can_not_be_is_refused(
    alice: Caller, wanted: dict[str, Any], code: str
) -> None:
    answer = alice.post("ledger/streams", {**SYSLOG, **wanted})
    assert answer.status_code == 422
    assert answer.json()["code"] == code, answer.content
    assert not Stream.objects.exists()


def test_a_change_is_checked_like_a_new_stream(alice: Caller) -> None:
    made(alice, SYSLOG)
    for wanted in [{"address": "tcp://127.0.0.1:1"}, {"cursor": 10**9}, {"selection": "!"}]:
        assert alice.patch("ledger/streams/siem", wanted).status_code == 422
    assert events("stream.changed") == []


def test_a_slug_is_taken_once_and_streams_are_bounded(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(alice, SYSLOG)
    assert alice.post("ledger/streams", SYSLOG).status_code == 409
    monkeypatch.setattr("runtime.streams.MOST_STREAMS", 1)
    assert alice.post("ledger/streams", WEBHOOK).json()["code"] == "stream_invalid"


def test_a_test_message_tells_whether_it_was_taken(alice: Caller, server: WebhookServer) -> None:
    made(alice, {**WEBHOOK, "address": server.address})
    answer = alice.post("ledger/streams/hook/test")
    assert answer.json() == {"taken": True, "reason": None}
    sent = json.loads(server.requests[0][1])
    assert (sent["type"], sent["data"]) == ("ledger.test", [])
    server.answer = 401
    answer = alice.post("ledger/streams/hook/test")
    assert answer.status_code == 200
    reason = "The receiver did not take it: it answered 401."
    assert answer.json() == {"taken": False, "reason": reason}
    receiver = server.address.partition("/siem")[0]
    assert events("stream.tested") == [{"stream": "hook", "receiver": receiver}] * 2


def test_a_test_of_syslog_tells_that_nobody_listens(alice: Caller, settings: LazySettings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    with SyslogServer() as gone:
        made(alice, {**SYSLOG, "address": gone.address})
    answer = alice.post("ledger/streams/siem/test").json()
    assert answer["taken"] is False
    assert "can't be reached" in answer["reason"]
