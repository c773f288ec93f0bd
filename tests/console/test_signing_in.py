"""Who gets in, and who does not."""

from __future__ import annotations

from cast import PASSWORD, Cast
from django.contrib.sessions.models import Session
from visiting import Visitor

from audit import queries
from tenants import isolation, members


def _sign_in(visitor: Visitor, email: str, password: str = PASSWORD, goal: str = "") -> object:
    return visitor.post("/sign-in", {"email": email, "password": password, "next": goal})


def test_a_member_signs_in_and_it_is_recorded(acme: Cast) -> None:
    visitor = Visitor(acme.tenant)
    answer = _sign_in(visitor, "bob@acme.test")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert "Good to see you, Bob" in visitor.words("/")
    assert queries.entries(kind="member.signed_in", actor=acme.bob.id).count() == 1


def test_a_wrong_password_says_so_and_opens_nothing(acme: Cast) -> None:
    visitor = Visitor(acme.tenant)
    answer = _sign_in(visitor, "bob@acme.test", "something else")
    assert answer.status_code == 401
    assert "The address or the password is wrong." in answer.content.decode()
    assert visitor.get("/").status_code == 302


def test_an_unknown_address_looks_like_a_wrong_password(acme: Cast) -> None:
    visitor = Visitor(acme.tenant)
    wrong = _sign_in(visitor, "bob@acme.test", "something else")
    unknown = _sign_in(visitor, "nobody@acme.test", "something else")
    assert unknown.status_code == wrong.status_code
    assert "The address or the password is wrong." in unknown.content.decode()


def test_whoever_is_not_signed_in_is_sent_to_the_door_and_back(acme: Cast) -> None:
    visitor = Visitor(acme.tenant)
    sent = visitor.get("/runs?state=held")
    assert sent["Location"] == "/sign-in?next=%2Fruns%3Fstate%3Dheld"
    assert (
        _sign_in(visitor, "bob@acme.test", goal="/runs?state=held")["Location"]
        == "/runs?state=held"
    )


def test_signing_in_never_leads_to_another_host(acme: Cast) -> None:
    for goal in ("https://evil.test/", "//evil.test/", "javascript:alert(1)"):
        assert _sign_in(Visitor(acme.tenant), "bob@acme.test", goal=goal)["Location"] == "/"


def test_signing_out_ends_the_session(acme: Cast) -> None:
    bob = Visitor(acme.tenant, acme.bob)
    assert bob.get("/").status_code == 200
    assert bob.get("/sign-out").status_code == 405
    assert bob.post("/sign-out")["Location"] == "/sign-in"
    assert bob.get("/").status_code == 302


def test_mallorys_account_does_not_exist_at_acme(acme: Cast, globex: Cast) -> None:
    assert _sign_in(Visitor(acme.tenant), "mallory@globex.test").status_code == 401


def test_mallorys_session_is_nothing_on_acmes_host(acme: Cast, mallory: Visitor) -> None:
    assert mallory.get("/").status_code == 200
    intruder = Visitor(acme.tenant)
    intruder.client.cookies = mallory.client.cookies
    assert intruder.get("/")["Location"].startswith("/sign-in")
    assert not Session.objects.filter(pk=mallory.client.cookies["sessionid"].value).exists()


def test_a_session_ends_with_the_membership(acme: Cast) -> None:
    bob = Visitor(acme.tenant, acme.bob)
    assert bob.get("/").status_code == 200
    members.remove(members.everyone().get(user__name="Bob").user_id, by=acme.alice)
    assert bob.get("/").status_code == 302


def test_a_live_part_of_an_ended_session_reloads_its_page(acme: Cast) -> None:
    answer = Visitor(acme.tenant).get("/approvals", HX_Request="true")
    assert (answer.status_code, answer["HX-Refresh"]) == (401, "true")


def test_the_login_page_belongs_to_the_host_it_is_on(acme: Cast, globex: Cast) -> None:
    assert "Sign in to Acme" in Visitor(acme.tenant).words("/sign-in")
    with isolation.acting_for(globex.tenant):
        assert "Sign in to Globex" in Visitor(globex.tenant).words("/sign-in")
