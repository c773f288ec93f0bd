"""Members and keys."""

from __future__ import annotations

import re

from acme_house import House
from django.contrib.sessions.models import Session
from visiting import Visitor

from tenants import members
from tenants.keys.models import Key


def _roles(name: str) -> list[str]:
    return list(members.everyone().get(user__name=name).roles)


def test_an_admin_adds_a_member_who_signs_in_with_the_password_shown(house: House) -> None:
    new = {"email": "erin@acme.test", "name": "Erin", "roles": ["reviewer", "viewer"]}
    page = house.alice.post("/members/add", new).content.decode()
    found = re.search(r"<code>([^<]+)</code> <button", page)
    assert found
    erin = Visitor(house.desk.cast.tenant)
    erin.post("/sign-in", {"email": "erin@acme.test", "password": found[1]})
    assert "Good to see you, Erin" in erin.words("/")
    assert found[1] not in house.alice.words("/members")


def test_a_member_who_is_one_already_is_refused_beside_the_form(house: House) -> None:
    new = {"email": "bob@acme.test", "name": "Bob", "roles": ["viewer"]}
    answer = house.alice.post("/members/add", new)
    assert answer.status_code == 422
    assert "is a member already" in answer.content.decode()
    assert house.alice.post("/members/add", {"email": "x"}).status_code == 422


def test_roles_change_at_once(house: House) -> None:
    house.alice.post(f"/members/{house.member}/roles", {"roles": ["auditor"]})
    assert _roles("Bob") == ["auditor"]
    assert house.bob.get("/ledger").status_code == 200
    assert house.bob.get("/documents").status_code == 403


def test_the_last_admin_stays_one(house: House) -> None:
    alice = house.desk.cast.alice.id
    for answer in (
        house.alice.post(f"/members/{alice}/roles", {"roles": ["viewer"]}),
        house.alice.post(f"/members/{alice}/remove"),
    ):
        assert answer.status_code == 409
        assert "must keep an admin" in answer.content.decode()
    assert _roles("Alice") == ["admin"]


def test_roles_that_do_not_exist_are_refused(house: House) -> None:
    answer = house.alice.post(f"/members/{house.member}/roles", {"roles": ["emperor"]})
    assert answer.status_code == 422
    assert _roles("Bob") == ["reviewer"]


def test_a_removed_member_is_gone(house: House) -> None:
    assert house.bob.get("/").status_code == 200
    house.alice.post(f"/members/{house.member}/remove")
    assert not members.everyone().filter(user__name="Bob").exists()
    assert house.bob.get("/").status_code == 302


def test_a_key_is_shown_once_and_never_again(house: House) -> None:
    page = house.alice.post_once("/keys", "/keys/issue", {"name": "Robo"}).content.decode()
    found = re.search(r"cs_acme_[0-9a-f]{16}_[0-9a-f]{48}", page)
    assert found
    assert found[0] not in house.alice.words("/keys")
    assert Key.objects.filter(name="Robo").exists()


def test_a_page_with_a_key_that_is_loaded_again_issues_no_second_key(house: House) -> None:
    shown = house.alice.post_once("/keys", "/keys/issue", {"name": "Robo"})
    sent = shown.wsgi_request.POST.dict()
    again = house.alice.post("/keys/issue", sent)
    assert again.status_code == 409
    assert "This was done already" in again.content.decode()
    assert Key.objects.filter(name="Robo").count() == 1
    house.alice.post_once("/keys", "/keys/issue", {"name": "Robo"})
    assert Key.objects.filter(name="Robo").count() == 2


def test_a_key_is_issued_by_a_form_of_ours_alone(house: House) -> None:
    for once in ("", "x", "x:y:z", "\0"):
        answer = house.alice.post("/keys/issue", {"name": "Robo", "once": once})
        assert answer.status_code == 422
        assert "Load its page again" in answer.content.decode()
    assert not Key.objects.filter(name="Robo").exists()


def test_the_text_of_a_key_is_in_no_session(house: House) -> None:
    page = house.alice.post_once("/keys", "/keys/issue", {"name": "Robo"}).content.decode()
    found = re.search(r"cs_acme_[0-9a-f]{16}_[0-9a-f]{48}", page)
    assert found
    assert all(found[0] not in str(row.get_decoded()) for row in Session.objects.all())


def test_a_key_without_a_name_is_refused_beside_the_form(house: House) -> None:
    answer = house.alice.post("/keys/issue", {"name": "  "})
    assert answer.status_code == 422
    assert "Give it a name" in answer.content.decode()


def test_a_revoked_key_says_so(house: House) -> None:
    house.alice.post(f"/keys/{house.key}/revoke")
    assert Key.objects.get(public_id=house.key).revoked_at is not None
    assert "Revoked" in house.alice.words("/keys")
