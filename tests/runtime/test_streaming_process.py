"""A sender that is killed at the worst moment: what it had sent is sent again, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from cast import Cast
from django.conf import LazySettings
from django.db import connection
from siem import WebhookServer
from streaming import Clock, deliver, from_now_on, happen, names

from runtime import delivering
from tests.environment import ROOT

SENDER = """
import sys, django
django.setup()
from runtime import tasks
tasks.stream("acme", sys.argv[1])
"""


def _hired(stream: str) -> subprocess.Popen[bytes]:
    settings = connection.settings_dict
    url = f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "countersign.settings",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES": "true",
    }
    return subprocess.Popen([sys.executable, "-c", SENDER, stream], env=environment, cwd=ROOT)


@pytest.mark.soak
def test_a_killed_sender_s_batch_comes_again_under_the_same_id(
    committed_acme: Cast, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    asked, clock = threading.Event(), Clock(datetime.now(UTC))

    async def answers_too_late(request: web.Request) -> web.Response:
        asked.set()
        assert sender.wait(30) == -signal.SIGKILL
        return web.Response(status=204)

    with WebhookServer() as server:
        server.answer = answers_too_late
        stream, _ = from_now_on(committed_acme, "webhook", server.address, now=clock.now)
        happen(committed_acme, "1", "2")
        sender = _hired(str(stream.pk))
        try:
            assert asked.wait(60), sender.poll()
        finally:
            sender.kill()
        sender.wait()
        before = stream.cursor
        happen(committed_acme, "3")
        server.answer = 204
        clock.now = datetime.now(UTC)
        assert deliver(stream, clock) == 0  # the dead one's claim
        assert stream.cursor == before
        clock.now += delivering.CLAIM + timedelta(seconds=1)
        assert deliver(stream, clock) == 2
    ids = [headers["webhook-id"] for headers, _ in server.requests]
    data: list[dict[str, Any]] = [
        e for _, body in server.requests for e in json.loads(body)["data"]
    ]
    assert ids[0] == ids[1] != ids[2]
    assert names(data) == ["1", "2", "1", "2", "3"]
    assert [each["index"] for each in data[2:]] == [before, before + 1, before + 2]
