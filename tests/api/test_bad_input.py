"""Whatever is wrong with a request gets a problem that says so (RFC 9457), and does nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from callers import API, Caller
from cast import Cast
from django.test import Client

from api import agents
from retrieval import collections
from runtime.models import Agent

RUNS = "agents/clerk/runs"


@pytest.fixture
def clerk(acme: Cast, now: datetime) -> None:
    """An agent and a collection, with nothing in them."""
    agents.agents.create("clerk", name="Clerk", by=acme.dave, now=now)
    collections.create("handbook", name="Handbook", embedding_route="e", by=acme.dave, now=now)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "body_malformed"),
        (b"\xff\xfe", 400, "body_malformed"),
        (b'{"slug": "x", "name": NaN}', 400, "body_malformed"),
        (b'{"slug": "x", "name": "a\\u0000b"}', 400, "body_malformed"),
        (b'{"slug": "x", "name": "\\ud800"}', 400, "body_malformed"),
        (b'{"slug": "x", "name": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "body_malformed"),
        (b'{"slug": "x", "name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "body_malformed"),
        (b'{"slug": "x", "name": "' + b"x" * 2_200_000 + b'"}', 413, "json_too_large"),
        (b"[]", 422, "invalid"),
        (b'"task"', 422, "invalid"),
        (b"null", 422, "invalid"),
        (b"", 422, "invalid"),
        (b"{}", 422, "invalid"),
        (b'{"slug": "x", "name": ""}', 422, "invalid"),
        (b'{"slug": "x", "name": "  "}', 422, "invalid"),
        (b'{"slug": "x", "name": 1}', 422, "invalid"),
        (b'{"slug": "x", "name": ["x"]}', 422, "invalid"),
        (b'{"slug": "x", "name": true}', 422, "invalid"),
        (b'{"slug": "x", "name": "x", "names": "y"}', 422, "invalid"),
    ],
)
def test_a_body_that_does_not_fit_is_named(
    dave: Caller, body: bytes, status: int, code: str
) -> None:
    answer = dave.post("agents", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= set(answer.json())
    assert not Agent.objects.exists()


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"slug": "x", "name": "X", "slug": "y"}', '"slug"'),
        (b'{"slug": "x", "name": "X", "sl\\u0075g": "x"}', '"slug"'),
        (b'{"slug": "x", "name": {"a": [{"b": 1, "b\\n": 2, "b\\n": 3}]}}', '"b\\n"'),
    ],
)
def test_a_member_that_is_there_twice_is_named(dave: Caller, body: bytes, name: str) -> None:
    answer = dave.post("agents", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")
    told = f"The request's body can't be used: it has the member {name} twice."
    assert answer.json()["detail"] == told
    assert not Agent.objects.exists()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"slug": "\xff", "name": "X"}', "it is not UTF-8"),
        (
            b'{"slug": "x", "name": "X", "n": %d}' % 10**30,
            "the integer 10000000000000000000 has more than 64 bits",
        ),
        (b'{"n": -%s}' % (b"9" * 300), "the integer -9999999999999999999 has more than 64 bits"),
    ],
    ids=["utf-8", "large", "endless"],
)
def test_what_is_wrong_with_a_body_is_told_in_plain_words(
    dave: Caller, body: bytes, why: str
) -> None:
    answer = dave.post("agents", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")
    assert answer.json()["detail"] == f"The request's body can't be used: {why}."


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("runs?page_size=many", "page_size"),
        ("documents?state=odd", "state"),
        ("agents?nmae=x", "nmae"),
        ("ledger/export?after=noon", "after"),
    ],
)
def test_a_flaw_of_the_address_is_told_by_its_parameter(
    alice: Caller, path: str, parameter: str
) -> None:
    answer = alice.get(path)
    assert answer.status_code == 422
    (flaw,) = answer.json()["errors"]
    assert (flaw["parameter"], "pointer" in flaw) == (parameter, False)


@pytest.mark.parametrize(
    ("charset", "status"),
    [("utf-8", 201), ('"UTF-8"', 201), ("latin-1", 415), ("utf-16", 415), ("nonsense", 415)],
)
def test_json_comes_in_utf_8(dave: Caller, charset: str, status: int) -> None:
    body = b'{"slug": "x", "name": "X"}'
    answer = dave.send("POST", "agents", body, content_type=f"application/json; charset={charset}")
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["code"] == "charset_unsupported"


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("agents", {"slug": "X Y", "name": 3, "nmae": "x"}, {"/slug", "/name", "/nmae"}),
        ("agents", {"slug": "x"}, {"/name"}),
        ("agents", {"slug": "x\n", "name": "X"}, {"/slug"}),
        ("agents", {"slug": "x", "name": "n" * 201}, {"/name"}),
        ("agents", {"slug": "x", "name": "X", "a/b~c": 1}, {"/a~1b~0c"}),
        (
            "agents/clerk/versions",
            {
                "instructions": "i",
                "route": "r",
                "tools": ["ok", 7],
                "limits": [],
            },
            {"/tools/1", "/limits"},
        ),
        (
            "tools",
            {
                "slug": "t",
                "description": "d",
                "method": "FETCH",
                "url": "https://x.test/",
                "parameters": "none",
                "effect": "magic",
                "repeatable": "yes",
                "timeout_seconds": 1.5,
                "headers": {"X-A": 1},
            },
            {
                "/method",
                "/parameters",
                "/effect",
                "/repeatable",
                "/timeout_seconds",
                "/headers/X-A",
            },
        ),
        ("members", {"email": "e", "name": "n", "password": "p", "roles": ["king"]}, {"/roles/0"}),
        ("collections/handbook/search", {"query": "q", "limit": True}, {"/limit"}),
        ("collections/handbook/search", {"query": "q", "documents": ["x"]}, {"/documents/0"}),
    ],
)
@pytest.mark.usefixtures("clerk")
def test_each_flaw_has_a_pointer(alice: Caller, path: str, body: Any, pointers: set[str]) -> None:
    answer = alice.post(path, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
    assert all(error["code"] and error["detail"] for error in answer.json()["errors"])


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "nothing", (404, "not_found")),
        ("GET", "", (404, "not_found")),
        ("GET", "agents/", (404, "not_found")),
        ("GET", "agents/No%20Slug", (404, "not_found")),
        ("GET", "agents/%00", (404, "not_found")),
        ("GET", "runs/no-uuid", (404, "not_found")),
        ("GET", "policies/99999999999999999999", (404, "policy_unknown")),
        ("DELETE", "agents", (405, "method_not_allowed")),
        ("PATCH", "me", (405, "method_not_allowed")),
        ("POST", "runs", (405, "method_not_allowed")),
        ("GET", "agents?nmae=x", (422, "invalid")),
        ("GET", "agents?page_size=0", (422, "invalid")),
        ("GET", "agents?page_size=1000", (422, "invalid")),
        ("GET", "agents?cursor=%21%21", (422, "cursor_malformed")),
        ("GET", "agents?cursor=cD14", (422, "cursor_malformed")),
        ("GET", "agents?cursor=cD0lMDA", (422, "cursor_malformed")),
        ("GET", "agents/clerk/versions?cursor=cD14", (422, "cursor_malformed")),
        ("GET", "runs?state=sleeping", (422, "invalid")),
        ("GET", "approvals?run=7", (422, "invalid")),
        ("GET", "ledger/entries?after=yesterday", (422, "invalid")),
        ("GET", "ledger/entries?text=%00", (422, "invalid")),
        ("GET", "ledger/entries?correlation=x", (422, "invalid")),
    ],
)
@pytest.mark.usefixtures("clerk")
def test_an_address_or_a_query_that_makes_no_sense_is_a_problem(
    alice: Caller, method: str, path: str, expected: tuple[int, str]
) -> None:
    answer = alice.send(method, path)
    assert (answer.status_code, answer.json()["code"]) == expected, answer.content
    assert answer["Content-Type"] == "application/problem+json"


def test_a_wrong_method_says_which_ones_are_right(alice: Caller) -> None:
    assert alice.delete("agents")["Allow"] == "GET, POST, HEAD, OPTIONS"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(clerk: None, robo: Caller, content_type: str) -> None:
    answer = robo.send("POST", RUNS, b"task=x", content_type=content_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_form_is_only_for_documents(clerk: None, robo: Caller) -> None:
    assert robo.upload(RUNS, {"task": "x"}).status_code == 415
    answer = robo.send("POST", "collections/handbook/documents", b"{}")
    assert answer.status_code == 415


def test_a_form_without_boundaries_is_malformed(clerk: None, dave: Caller) -> None:
    answer = dave.send(
        "POST", "collections/handbook/documents", b"x", content_type="multipart/form-data"
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "form_malformed")


def test_a_defect_shows_nothing_of_itself(alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr(agents.agents, "create", fail)
    answer = alice.post("agents", {"slug": "x", "name": "X"})
    assert (answer.status_code, answer.json()["code"]) == (500, "server_error")
    assert answer["Content-Type"] == "application/problem+json"
    assert "secret" not in answer.content.decode()
    assert not Agent.objects.exists()


def test_a_host_that_is_nobodys_is_refused(acme: Any) -> None:
    answer = Client().get(API + "me", headers={"Host": "evil.test"})
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    for path in (API + "me", API + "nothing", "/api/v2"):
        answer = Client().get(path, headers={"Host": "no-tenant.localhost"})
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
        assert answer.json()["code"] == "host_unknown"
    answer = Client().get("/", headers={"Host": "no-tenant.localhost"})
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/plain")


def test_a_session_without_the_csrf_token_changes_nothing(acme: Any) -> None:
    client = Client(enforce_csrf_checks=True, headers={"Host": "acme.localhost"})
    assert client.login(username="alice@acme.test", password="a long enough passphrase")
    assert client.get(API + "me").status_code == 200
    answer = client.post(API + "agents", {"slug": "x", "name": "X"}, "application/json")
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")


def test_a_body_without_a_length_is_refused_not_taken_for_empty(dave: Caller) -> None:
    body = b'{"slug": "x", "name": "X"}'
    headers = {**dave.headers({}), "Transfer-Encoding": "chunked"}
    answer = Client().generic(
        "POST", API + "agents", body, "application/json", headers=headers, CONTENT_LENGTH=""
    )
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


def test_looking_ahead_neither_exports_nor_watches(carol: Caller) -> None:
    for path in ("ledger/export", "runs/01890a5d-ac96-774b-bcce-b302099a8057/events"):
        assert carol.send("HEAD", path).status_code == 405


@pytest.mark.parametrize("name", ["a\nb", "\U0001f600" * 100, "", 7])
def test_a_person_is_named_as_the_ledger_can_take_it(
    clerk: None, robo: Caller, name: object
) -> None:
    answer = robo.post(RUNS, {"task": "x", "on_behalf_of": name})
    assert answer.json()["errors"][0]["pointer"] == "/on_behalf_of"


def test_no_answer_is_for_a_cache(alice: Caller) -> None:
    assert alice.get("me")["Cache-Control"] == "no-store"
    assert alice.get("runs/none")["Content-Type"] == "application/problem+json"
