"""Signing in, members, keys, and who may do what."""

from __future__ import annotations

import pytest
from callers import Caller
from cast import PASSWORD, Cast

ALICE = {"email": "alice@acme.test", "password": PASSWORD}


def test_a_member_signs_in_at_the_tenants_host(acme: Cast) -> None:
    answer = Caller(None, "acme.localhost").post("sign-in", ALICE)
    assert answer.status_code == 201
    me = Caller(answer.json()["token"], "acme.localhost").get("me").json()
    assert me == {
        "kind": "member",
        "id": acme.alice.id,
        "name": "Alice",
        "tenant": "acme",
        "roles": ["admin"],
    }


def test_a_member_signs_in_at_the_base_host_by_naming_the_tenant(acme: Cast) -> None:
    base = Caller(None, "localhost")
    assert base.post("sign-in", {**ALICE, "tenant": "acme"}).status_code == 201
    unnamed = base.post("sign-in", ALICE)
    assert (unnamed.status_code, unnamed.json()["code"]) == (422, "tenant_needed")


@pytest.mark.parametrize(
    ("host", "body"),
    [
        ("acme.localhost", {**ALICE, "password": "wrong"}),
        ("acme.localhost", {**ALICE, "email": "nobody@acme.test"}),
        ("acme.localhost", {**ALICE, "tenant": "globex"}),
        ("globex.localhost", ALICE),
        ("localhost", {**ALICE, "tenant": "globex"}),
        ("localhost", {**ALICE, "tenant": "nobody"}),
    ],
)
def test_whoever_does_not_belong_is_refused_alike(
    acme: Cast, globex: Cast, host: str, body: dict[str, str]
) -> None:
    answer = Caller(None, host).post("sign-in", body)
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_refused")
    assert answer.json()["detail"] == "The address or the password is wrong."


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000"])
def test_a_cookie_where_no_tenant_is_named_opens_nothing(acme: Cast, host: str) -> None:
    answer = Caller(None, host).get("me", cookie=f"sessionid={'a' * 32}")
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_needed")


def test_a_token_is_revoked_by_its_own_member(bob: Caller) -> None:
    (own,) = bob.get("keys").json()["results"]
    assert own["kind"] == "member"
    assert bob.delete(f"keys/{own['id']}").status_code == 204
    assert bob.get("me").status_code == 401


def test_an_admin_issues_a_service_key_that_is_shown_once(alice: Caller, acme: Cast) -> None:
    made = alice.post("keys", {"name": "Shop"})
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert Caller(secret, "acme.localhost").get("me").json()["name"] == "Shop"
    listed = alice.get("keys").content.decode()
    assert secret.rpartition("_")[2] not in listed
    assert alice.get(made["Location"]).json()["name"] == "Shop"
    assert alice.delete(made["Location"]).status_code == 204
    assert Caller(secret, "acme.localhost").get("me").status_code == 401


def test_members_come_change_and_go(alice: Caller, acme: Cast) -> None:
    eve = {"email": "eve@acme.test", "name": "Eve", "password": PASSWORD, "roles": ["viewer"]}
    made = alice.post("members", eve)
    assert made.status_code == 201
    where = made["Location"]
    assert alice.patch(where, {"roles": ["reviewer"]}).json()["roles"] == ["reviewer"]
    assert alice.get(where).json()["email"] == "eve@acme.test"
    assert len(alice.get("members").json()["results"]) == 5
    assert alice.delete(where).status_code == 204
    assert alice.get(where).json()["code"] == "member_unknown"


def test_the_last_admin_stays(alice: Caller, acme: Cast) -> None:
    where = f"members/{acme.alice.id}"
    answers = [alice.delete(where), alice.patch(where, {"roles": ["viewer"]})]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(409, "last_admin")] * 2


def test_who_is_no_admin_configures_no_people(bob: Caller, acme: Cast) -> None:
    new = {"email": "eve@acme.test", "name": "Eve", "password": PASSWORD, "roles": ["viewer"]}
    answers = [
        bob.post("members", new),
        bob.patch(f"members/{acme.bob.id}", {"roles": ["admin"]}),
        bob.delete(f"members/{acme.alice.id}"),
        bob.post("keys", {"name": "Mine"}),
    ]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "not_permitted")] * 4


CONFIGURING = [
    ("POST", "agents", {"slug": "x", "name": "X"}),
    ("POST", "collections", {"slug": "x", "name": "X", "embedding_route": "e"}),
    ("GET", "members", None),
    ("GET", "keys", None),
    ("GET", "tools", None),
    ("GET", "policies", None),
    ("POST", "policies", {"text": ""}),
    ("GET", "providers", None),
    ("POST", "providers", {"slug": "x", "kind": "offline"}),
    ("GET", "endpoints", None),
    ("GET", "routes", None),
    ("GET", "ledger/checkpoint", None),
    ("GET", "ledger/export", None),
]


def test_a_service_key_configures_nothing(robo: Caller) -> None:
    for method, path, body in CONFIGURING:
        answer = robo.send(method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted"), path


def test_a_service_key_lists_agents_and_documents(robo: Caller) -> None:
    for path in ("me", "agents", "runs", "approvals", "collections", "documents"):
        assert robo.get(path).status_code == 200, path


def test_a_viewer_reads_and_changes_nothing(victor: Caller) -> None:
    for path in ("agents", "tools", "runs", "members", "collections", "documents", "approvals"):
        assert victor.get(path).status_code == 200, path
    for method, path, body in CONFIGURING:
        if method == "POST":
            assert victor.send(method, path, body).status_code == 403, path
