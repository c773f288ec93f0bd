"""Streams to a webhook: signed, in order, at least once, and never a gap."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cast import Cast
from django.conf import LazySettings
from siem import WebhookServer, certificate
from streaming import Clock, deliver, from_now_on, happen, is_genuine, ledger_size, names

from audit import published
from audit.published import EntriesMissing
from runtime import delivering, nudges, receivers, streams, tasks, webhooks
from runtime.events import RunResumed
from runtime.models import Stream


@pytest.fixture(autouse=True)
def at_home(settings: LazySettings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer() as made:
        yield made


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def stream(acme: Cast, server: WebhookServer, now: datetime) -> Stream:
    made, secret = from_now_on(acme, "webhook", server.address, now=now)
    made.told = secret  # type: ignore[attr-defined]
    return made


def bodies(server: WebhookServer) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in server.requests]


def data(server: WebhookServer) -> list[dict[str, Any]]:
    return [entry for body in bodies(server) for entry in body["data"]]


def is_signed(request: tuple[dict[str, str], bytes], secret: str) -> bool:
    """As the specification says it, in other words than ours."""
    headers, body = request
    key = base64.b64decode(secret.split("_", 1)[1])
    content = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
    )
    wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in headers["webhook-signature"].split(" ")


def test_each_entry_comes_once_in_the_order_of_the_log_and_can_be_checked(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    first = ledger_size()
    happen(acme, "1", "2", "3")
    assert deliver(stream, clock) == 1
    assert deliver(stream, clock) == 0
    assert [each["index"] for each in data(server)] == [first, first + 1, first + 2]
    assert names(data(server)) == ["1", "2", "3"]
    assert all(is_genuine(each) for each in data(server))
    assert stream.cursor == first + 3
    assert stream.delivered_at == clock.now


def test_what_is_sent_are_the_bytes_of_the_leaf(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    happen(acme, "é☃")
    deliver(stream, clock)
    (entry,) = published.entries(stream.cursor - 1, stream.cursor)
    assert b'"entry":' + entry.leaf + b',"index"' in server.requests[0][1]
    assert hashlib.sha256(b"\0" + entry.leaf).digest() == entry.leaf_hash


def test_a_webhook_is_signed_with_the_secret_that_was_shown_once(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    happen(acme, "1")
    deliver(stream, clock)
    (request,) = server.requests
    secret = stream.told  # type: ignore[attr-defined]
    assert secret.startswith("whsec_")
    assert secret.encode() not in bytes(stream.secret or b"")
    assert is_signed(request, secret)
    assert not is_signed((request[0], request[1] + b" "), secret)
    assert not is_signed(request, webhooks.new_secret())
    assert request[0]["webhook-timestamp"] == str(int(clock.now.timestamp()))
    assert request[0]["content-type"] == "application/json"


def test_the_signature_is_the_one_of_the_specification() -> None:
    message = webhooks.Message("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    moment = datetime.fromtimestamp(1_614_265_330).astimezone()
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = webhooks.headers_of(message, [key], now=moment)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_only_what_is_selected_is_sent_and_the_cursor_passes_the_rest(
    acme: Cast, server: WebhookServer, clock: Clock
) -> None:
    stream, _ = from_now_on(acme, "webhook", server.address, selection="run.", now=clock.now)
    happen(acme, "1", "2")
    happen(acme, "mine", kind=RunResumed)
    happen(acme, "3")
    deliver(stream, clock)
    assert names(data(server)) == ["mine"]
    assert stream.cursor == ledger_size()
    assert deliver(stream, clock) == 0


def test_what_was_not_selected_alone_is_not_sent_at_all(
    acme: Cast, server: WebhookServer, clock: Clock
) -> None:
    stream, _ = from_now_on(acme, "webhook", server.address, selection="run.", now=clock.now)
    happen(acme, "1", "2")
    deliver(stream, clock)
    assert server.requests == []
    assert (stream.cursor, stream.delivered_at) == (ledger_size(), None)


def test_batches_are_bounded_by_count_and_bytes(
    acme: Cast,
    stream: Stream,
    server: WebhookServer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happen(acme, *"12345")
    monkeypatch.setattr(delivering, "MOST_ENTRIES", 2)
    assert deliver(stream, clock) == 3
    assert [len(body["data"]) for body in bodies(server)] == [2, 2, 1]
    monkeypatch.setattr(delivering, "MOST_BYTES", 10)  # one entry alone has more
    happen(acme, "6", "7")
    assert deliver(stream, clock) == 2
    assert names(data(server)) == list("1234567")


def test_a_receiver_that_fails_gets_the_same_message_again_later(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    happen(acme, "1")
    server.answer = 500
    before = stream.cursor
    assert deliver(stream, clock) == 0
    assert (stream.cursor, stream.failures) == (before, 1)
    assert stream.error == "The receiver did not take it: it answered 500."
    assert stream.failed_at == clock.now
    assert stream.next_try_at is not None
    assert timedelta(seconds=1) <= stream.next_try_at - clock.now <= timedelta(seconds=2)
    server.answer = 200
    assert deliver(stream, clock) == 0  # not yet
    happen(acme, "2")
    clock.wait(2)
    assert deliver(stream, clock) == 2
    (tried, _), (again, _), (after, _) = server.requests
    assert tried["webhook-id"] == again["webhook-id"] != after["webhook-id"]
    assert int(again["webhook-timestamp"]) == int(tried["webhook-timestamp"]) + 2
    assert names(data(server)) == ["1", "1", "2"]
    assert (stream.failures, stream.error, stream.next_try_at) == (0, None, None)


def test_a_receiver_that_is_down_gets_everything_once_it_is_up(acme: Cast, clock: Clock) -> None:
    with WebhookServer() as first:
        stream, _ = from_now_on(acme, "webhook", first.address, now=clock.now)
    happen(acme, "1", "2")
    deliver(stream, clock)
    assert stream.error == "The receiver did not take it: it can't be reached."
    clock.wait(2)
    with WebhookServer(port=first.port) as second:
        deliver(stream, clock)
    assert names(data(second)) == ["1", "2"]


@pytest.mark.parametrize("status", [199 + 101, 304, 400, 404, 410, 429, 503])
def test_nothing_but_2xx_is_a_yes(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock, status: int
) -> None:
    happen(acme, "1")
    server.answer = status
    before = stream.cursor
    deliver(stream, clock)
    assert (stream.cursor, stream.enabled) == (before, True)
    assert str(status) in (stream.error or "")


def test_a_redirect_is_not_followed(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    with WebhookServer() as elsewhere:

        async def redirect(_: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": elsewhere.address})

        server.answer = redirect
        happen(acme, "1")
        deliver(stream, clock)
        assert elsewhere.requests == []
    assert "redirects are not followed" in (stream.error or "")


def test_a_slow_receiver_is_not_waited_for_for_ever(
    acme: Cast,
    stream: Stream,
    server: WebhookServer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def sleep(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    monkeypatch.setattr(webhooks, "SECONDS", 0.2)
    server.answer = sleep
    happen(acme, "1")
    before = stream.cursor
    deliver(stream, clock)
    assert (stream.cursor, stream.failures) == (before, 1)
    assert "did not answer" in (stream.error or "")


def test_a_receiver_that_hangs_up_did_not_take_it(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    server.answer = hang_up
    happen(acme, "1")
    before = stream.cursor
    deliver(stream, clock)
    assert stream.cursor == before
    assert "the connection broke" in (stream.error or "")


def test_a_receiver_is_heard_that_says_when_to_come_again(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    async def later(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "120"})

    server.answer = later
    happen(acme, "1")
    deliver(stream, clock)
    assert stream.next_try_at == clock.now + timedelta(seconds=120)


def test_pauses_grow_up_to_a_bound_and_are_not_all_alike() -> None:
    for failures, longest in [(1, 2), (2, 4), (5, 32), (10, 600), (1000, 600)]:
        pauses = [delivering.pause_after(failures) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest
    assert delivering.pause_after(1, asked=10**9) == delivering.LONGEST_PAUSE


def test_a_private_address_is_not_called(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock, settings: LazySettings
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = False
    happen(acme, "1")
    deliver(stream, clock)
    assert server.requests == []
    assert "not on the public internet" in (stream.error or "")


def test_a_certificate_is_judged_by_the_stream_s_authority_alone(
    acme: Cast, clock: Clock, tmp_path: Path
) -> None:
    tls, pem = certificate(tmp_path)
    with WebhookServer(tls=tls) as server:
        stream, _ = from_now_on(acme, "webhook", server.address, now=clock.now)
        happen(acme, "1")
        deliver(stream, clock)
        assert stream.error == "The receiver did not take it: its certificate is not trusted."
        streams.change(stream, authority=pem, by=acme.alice)
        deliver(stream, clock)
    assert names(data(server))[:1] == ["1"]


def test_a_rotated_secret_and_the_one_before_it_both_sign_for_a_day(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    old = stream.told  # type: ignore[attr-defined]
    new = streams.rotate(stream, by=acme.alice, now=clock.now)
    happen(acme, "1")
    deliver(stream, clock)
    clock.wait(24 * 3600)
    happen(acme, "2")
    deliver(stream, clock)
    during, after = server.requests
    assert is_signed(during, old)
    assert is_signed(during, new)
    assert is_signed(after, new)
    assert not is_signed(after, old)


@pytest.mark.parametrize(
    "interfere",
    [
        lambda stream, cast: streams.change(stream, enabled=False, by=cast.alice),
        lambda stream, cast: streams.change(stream, address="https://other.test/", by=cast.alice),
        lambda stream, cast: streams.remove(stream, by=cast.alice),
    ],
    ids=["disabled", "moved", "removed"],
)
def test_what_was_under_way_when_the_stream_was_changed_moves_no_cursor(
    acme: Cast,
    stream: Stream,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    interfere: Callable[[Stream, Cast], object],
) -> None:
    happen(acme, "1")
    before, send = stream.cursor, receivers.send

    def send_while_it_changes(row: Stream, *args: Any, **kwargs: Any) -> None:
        send(row, *args, **kwargs)
        interfere(Stream.objects.get(pk=row.pk), acme)

    monkeypatch.setattr(receivers, "send", send_while_it_changes)
    assert delivering.deliver(stream.pk, clock=clock) == 0
    left = Stream.objects.filter(pk=stream.pk).first()
    assert left is None or (left.cursor, left.claimed_until) == (before, None)


def test_a_stream_that_is_off_or_gone_sends_nothing(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    happen(acme, "1")
    streams.change(stream, enabled=False, by=acme.alice)
    assert delivering.waiting(clock.now) == []
    assert deliver(stream, clock) == 0
    streams.change(stream, enabled=True, by=acme.alice)
    assert delivering.waiting(clock.now) == [stream.pk]
    streams.remove(stream, by=acme.alice)
    assert delivering.deliver(stream.pk, clock=clock) == 0
    assert server.requests == []


def test_the_cursor_may_be_set_back_to_send_again(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    happen(acme, "1")
    deliver(stream, clock)
    streams.change(stream, cursor=stream.cursor - 1, by=acme.alice)
    deliver(stream, clock)
    assert names(data(server)) == ["1", "1"]


def test_one_worker_at_a_time_and_a_dead_one_s_batch_is_sent_again(
    acme: Cast,
    stream: Stream,
    server: WebhookServer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happen(acme, "1")

    class Killed(BaseException):
        """What a killed worker is here: nothing that it would have done happens."""

    send = receivers.send

    def die(*args: Any, **kwargs: Any) -> None:
        send(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(receivers, "send", die)
        with pytest.raises(Killed):
            delivering.deliver(stream.pk, clock=clock)
    happen(acme, "2")
    assert delivering.waiting(clock.now) == []
    assert deliver(stream, clock) == 0
    clock.wait(delivering.CLAIM.total_seconds() + 1)
    assert delivering.waiting(clock.now) == [stream.pk]
    assert deliver(stream, clock) == 2
    (lost, _), (again, _), _ = server.requests
    assert lost["webhook-id"] == again["webhook-id"]
    assert names(data(server)) == ["1", "1", "2"]


def test_a_stream_that_fails_holds_up_no_other(
    acme: Cast,
    stream: Stream,
    server: WebhookServer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with WebhookServer() as broken:
        broken.answer = 500
        other, _ = streams.create(
            "other",
            kind="webhook",
            address=broken.address,
            cursor=stream.cursor,
            by=acme.alice,
            now=clock.now,
        )
        happen(acme, "1")
        told: list[Any] = []
        monkeypatch.setattr(nudges, "stream_after_commit", told.append)
        monkeypatch.setattr(tasks.timezone, "now", clock)
        tasks.nudge_streams()
        assert set(told) == {stream.pk, other.pk}
        for each in [other, stream]:
            deliver(each, clock)
        told.clear()
        tasks.nudge_streams()
        assert told == []
    assert names(data(server))[-1:] == ["1"]
    assert (stream.failures, other.failures) == (0, 1)


def test_a_hole_in_the_ledger_is_not_passed_over(acme: Cast) -> None:
    happen(acme, "1")
    with pytest.raises(EntriesMissing):
        published.entries(0, ledger_size() + 1)


def test_what_is_not_published_is_not_sent(
    acme: Cast, stream: Stream, server: WebhookServer, clock: Clock
) -> None:
    from django.db import transaction

    from audit import ledger

    with transaction.atomic():
        ledger.record(RunResumed(approval="a"), actor=acme.carol.actor)
    assert deliver(stream, clock) == 0
    assert server.requests == []
