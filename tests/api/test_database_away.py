"""A database that is away is said to be away: 503, never a defect's 500."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import silent_server
from asgiref.sync import async_to_sync
from callers import Caller, OneHostClient
from cast import Cast
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from psycopg_pool import PoolTimeout
from silent_server import Line

from audit import sequencer
from governance import queries
from tenants import directory, isolation, members
from tenants.models import User

AWAY = [OperationalError, InterfaceError, psycopg.OperationalError, PoolTimeout]
HOSTS = ["acme.localhost", "localhost"]


def break_down(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, kind: type) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise kind("the server closed the connection unexpectedly")

    monkeypatch.setattr(where, name, fail)


def is_unavailable(answer: Any) -> bool:
    told = (answer.status_code, answer["Content-Type"], answer.json()["code"])
    return told == (503, "application/problem+json", "database_unavailable")


@pytest.mark.parametrize("kind", AWAY)
@pytest.mark.parametrize("host", HOSTS)
def test_where_not_even_the_tenant_is_found_the_api_says_that_the_database_is_away(
    acme: Cast, monkeypatch: pytest.MonkeyPatch, kind: type, host: str
) -> None:
    break_down(monkeypatch, directory, "of_host", kind)
    for path in ("me", "runs", "nowhere"):
        assert is_unavailable(Caller(None, host).get(path)), path


def test_the_asgi_server_says_so_too(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    break_down(monkeypatch, directory, "of_host", OperationalError)
    client = OneHostClient(raise_request_exception=False)
    for path in ("/api/v1/me", "/api/v1/agents/clerk/runs"):
        answer = async_to_sync(client.get)(path, headers={"Host": "acme.localhost"})
        assert is_unavailable(answer), path
    isolation.enter(acme.tenant)


@pytest.mark.parametrize("kind", AWAY)
def test_a_database_that_goes_while_a_view_works_is_away(
    bob: Caller, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    break_down(monkeypatch, queries, "approvals", kind)
    assert is_unavailable(bob.get("approvals"))
    assert "closed the connection" not in bob.get("approvals").content.decode()


@pytest.fixture
def line(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """What new connections to the database go through."""
    with silent_server.line() as made:
        monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        monkeypatch.setitem(connection.settings_dict, "PORT", made.port)
        yield made


def is_failing(host: str) -> bool:
    """Whether whoever watches is told that the database is away, in JSON and soon."""
    began = time.monotonic()
    answer = Caller(None, host).get("/health")
    assert time.monotonic() - began < 2.5
    told = {"status": "failing", "database": "unreachable"}
    return (answer.status_code, answer["Content-Type"], answer.json()) == (
        503,
        "application/json",
        told,
    )


@pytest.mark.parametrize("host", [*HOSTS, "nobody.localhost"])
def test_whoever_watches_is_told_so_in_json(line: Line, host: str) -> None:
    assert Caller(None, host).get("/health").status_code == 200
    line.cut()
    assert is_failing(host)


@pytest.mark.soak
def test_a_silent_database_is_away_until_it_speaks(line: Line) -> None:
    line.fall_silent()
    assert is_failing("localhost")
    assert is_failing("localhost")
    line.speak()
    wait_until_well()


@pytest.mark.soak
def test_whoever_connects_to_a_silent_database_gives_up_soon(line: Line) -> None:
    line.fall_silent()
    began, another = time.monotonic(), connection.copy()
    with pytest.raises(OperationalError):
        another.ensure_connection()
    assert time.monotonic() - began < 9
    line.speak()


@pytest.mark.soak
def test_a_database_that_falls_silent_meanwhile_is_away(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_behind = sequencer.is_behind

    def fall_silent(*args: Any, **named: Any) -> bool:
        line.fall_silent()
        return is_behind(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(sequencer, "is_behind", fall_silent)
        assert is_failing("localhost")
        line.speak()
    wait_until_well()


def wait_until_well() -> None:
    deadline = time.monotonic() + 10
    while Caller(None, "localhost").get("/health").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("broken", [(directory, "of_host"), (members, "everyone")])
def test_the_console_gets_a_plain_page(
    acme: Cast, monkeypatch: pytest.MonkeyPatch, broken: tuple[Any, str]
) -> None:
    client = Client(raise_request_exception=False, HTTP_HOST="acme.localhost")
    user = User.objects.get(pk=acme.alice.id)
    client.force_login(user, backend="tenants.signing_in.MemberBackend")
    break_down(monkeypatch, *broken, OperationalError)
    answer = client.get("/")
    isolation.enter(acme.tenant)
    assert (answer.status_code, answer["Content-Type"]) == (503, "text/plain")
    assert answer.content == b"The database can't be reached at the moment. Try again."


def test_a_defect_stays_a_defect(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    break_down(monkeypatch, directory, "of_host", ZeroDivisionError)
    answer = Caller(None, "acme.localhost").get("me")
    assert (answer.status_code, answer.json()["code"]) == (500, "server_error")
