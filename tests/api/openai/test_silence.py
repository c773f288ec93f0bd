"""A database that falls silent: clients are told so within seconds, and nothing starts later."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import builders
import pytest
import silent_server
import web_process
from django.db import connection
from world import World, says

from runtime.models import Run

ASK: Any = [{"role": "user", "content": "May I return a kettle?"}]


@pytest.mark.soak
@pytest.mark.parametrize("model", ["fast", "agent:refund-desk"])
def test_a_silent_database_is_told_within_seconds(
    office: Any, world: World, tmp_path: Any, model: str
) -> None:
    builders.furnish(office.cast, world, datetime.now(UTC))
    world.script[:] = [says("Yes.")]
    database = connection.settings_dict["NAME"]
    with (
        silent_server.line() as line,
        web_process.serving(database, tmp_path, port=line.port) as web,
    ):
        office.web = web
        office.client().models.list()
        line.fall_silent()
        began = time.monotonic()
        for at_most in (7, 10):
            answer = office.post(
                "/v1/chat/completions",
                json.dumps({"model": model, "messages": ASK}).encode(),
                timeout=20,
            )
            error = answer.json()["error"]
            assert (answer.status_code, error["type"]) == (503, "server_error"), error
            assert time.monotonic() - began < at_most
        line.speak()
        time.sleep(1)
    assert not Run.objects.exists()
    assert office.upstream.bodies == []
