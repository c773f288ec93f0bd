"""docs/how-to/stream-to-a-siem.md: its code, run as it stands on what really arrives."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest
from callers import member
from cast import Cast
from django.conf import LazySettings
from siem import WebhookServer
from streaming import Clock, deliver, happen

from runtime import delivering, handover
from runtime.models import Stream
from tests.environment import ROOT

PAGE = (ROOT / "docs" / "how-to" / "stream-to-a-siem.md").read_text()
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [code for name, code in CODE.findall(PAGE) if name == language]


@pytest.fixture
def snippets() -> dict[str, Any]:
    """What the page's Python defines."""
    names: dict[str, Any] = {}
    for code in blocks("python"):
        exec(code, names)  # noqa: S102  (our own page)
    return names


def test_the_page_s_receiver_takes_what_the_page_s_stream_sends(
    acme: Cast, settings: LazySettings, snippets: dict[str, Any]
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    happen(acme, "é")
    (command,) = blocks("sh")
    body = json.loads(shlex.split(command.replace("\\\n", " "))[-1])
    with WebhookServer() as server:
        body["address"] = server.address
        made = member(acme.alice).post("ledger/streams", body)
        assert made.status_code == 201, made.content
        stream, secret = Stream.objects.get(), made.json()["secret"]
        assert deliver(stream, Clock(datetime.now(UTC))) >= 1
    headers, sent = server.requests[0]
    assert snippets["is_ours"](headers, sent, secret)
    assert not snippets["is_ours"](headers, sent + b" ", secret)
    assert not snippets["is_ours"]({**headers, "webhook-timestamp": "1"}, sent, secret)
    entries = [each for _, body in server.requests for each in json.loads(body)["data"]]
    assert [each["index"] for each in entries] == list(range(stream.cursor))
    assert all(snippets["is_whole"](each) for each in entries)
    entries[0]["entry"]["kind"] = "run.started"
    assert not snippets["is_whole"](entries[0])


def test_the_numbers_on_the_page_are_the_code_s() -> None:
    assert f"up to {delivering.MOST_ENTRIES} entries, or about 128 kB" in PAGE
    assert delivering.MOST_BYTES == 128 * 1024
    assert f"within {handover.SECONDS:.0f} seconds" in PAGE
    assert (delivering.FIRST_PAUSE, delivering.LONGEST_PAUSE) == (2, 600)
