"""The API describes itself: OpenAPI, its page, and the servers' health."""

from __future__ import annotations

import io
import re

import pytest
from callers import Caller
from cast import Cast
from django.core.management import call_command
from django.db import transaction

from api import health
from audit import ledger, reconciling, sequencer
from audit.events import SYSTEM
from audit.ids import new_id
from tenants.events import TenantCreated


def test_the_description_is_valid_and_complete() -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=io.StringIO())


def test_the_description_is_served_without_a_key_on_every_host(acme: Cast) -> None:
    for host in ("acme.localhost", "localhost"):
        schema = Caller(None, host).get("schema").json()
        assert schema["openapi"].startswith("3.")
        operation = schema["paths"]["/api/v1/agents/{slug}/runs"]["post"]
        assert "Idempotency-Key" in [p["name"] for p in operation["parameters"]]
        assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_every_post_that_creates_or_acts_heeds_the_idempotency_key(acme: Cast) -> None:
    schema = Caller(None, "localhost").get("schema").json()
    without = {
        path
        for path, operations in schema["paths"].items()
        if "post" in operations
        and not any(
            p["name"] == "Idempotency-Key" for p in operations["post"].get("parameters", [])
        )
    }
    neither_creates_nor_acts = {"/api/v1/policies/check"}
    assert without == neither_creates_nor_acts


def test_the_page_that_shows_it_needs_no_inline_script_and_no_other_host(acme: Cast) -> None:
    page = Caller(None, "acme.localhost").get("docs")
    html = page.content.decode()
    assert page["Content-Type"].startswith("text/html")
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert "<style" not in html
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    assert "'unsafe-inline'" not in page["Content-Security-Policy"]
    script = re.findall(r'<script src="([^"]+)"', html)[-1]
    answer = Caller(None, "acme.localhost").get(script.replace("&amp;", "&"))
    assert answer["Content-Type"].startswith("application/javascript")
    assert "/api/v1/schema" in answer.content.decode()


def test_health_is_told_to_anybody_and_counts_nothing(acme: Cast) -> None:
    for host in ("acme.localhost", "localhost"):
        answer = Caller(None, host).get("/health")
        assert answer.status_code == 200
        told = answer.json()
        assert (told["status"], told["database"]) == ("ok", "ok")
        assert set(told) == {"status", "database", "sealing", "ledgers"}
        assert told["sealing"] in {"ok", "behind"}
        assert told["ledgers"] in {"ok", "halted", "differing"}


def test_health_tells_whether_sealing_keeps_up(
    committed_acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody seals here, so an entry waits for ever."""
    with transaction.atomic():
        ledger.record(TenantCreated(tenant="acme", name="Acme"), actor=SYSTEM)
    for seconds, told in ((0, "behind"), (3_600, "ok")):
        monkeypatch.setattr(health, "BEHIND_SECONDS", seconds)
        assert Caller(None, "localhost").get("/health").json()["sealing"] == told


@pytest.mark.parametrize(
    ("halted", "differs", "told"),
    [(True, True, "halted"), (False, True, "differing"), (False, False, "ok")],
)
def test_health_tells_what_is_wrong_with_a_ledger_and_not_with_which(
    acme: Cast, monkeypatch: pytest.MonkeyPatch, halted: bool, differs: bool, told: str
) -> None:
    found = [new_id()] if halted else []
    monkeypatch.setattr(sequencer, "halted", lambda _: found)
    monkeypatch.setattr(reconciling, "differs", lambda _: differs)
    answer = Caller(None, "localhost").get("/health")
    assert (answer.status_code, answer.json()["ledgers"]) == (200, told)
    assert not any(str(log) in answer.content.decode() for log in found)
