"""The page of streams: how far each is and why not further, and what only an admin may do there."""

from __future__ import annotations

import re

import pytest
from acme_house import House
from django.conf import LazySettings
from siem import WebhookServer
from visiting import seal

from runtime import delivering
from runtime.models import Stream

FORM = {
    "slug": "siem",
    "kind": "webhook",
    "address": "https://siem.acme.test/in",
    "selection": "run.",
    "authority": "",
    "since": "now",
}


@pytest.fixture(autouse=True)
def published(house: House) -> None:
    seal()


def test_an_admin_makes_a_stream_and_sees_its_secret_once(house: House) -> None:
    page = house.alice.post("/streams/create", FORM).content.decode()
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", page)
    assert found
    listed = house.alice.words("/streams")
    assert found[0] not in listed
    assert "https://siem.acme.test/in" in listed
    assert "Up to date" in listed
    assert "only run." in listed
    made = Stream.objects.get()
    assert (made.selection, made.cursor > 0) == ("run.", True)


def test_a_syslog_stream_begins_with_the_first_entry(house: House) -> None:
    form = {**FORM, "kind": "syslog", "address": "tls://siem.acme.test:6514", "since": "beginning"}
    assert house.alice.post("/streams/create", form).status_code == 302
    assert Stream.objects.get().cursor == 0
    assert "Catching up" in house.alice.words("/streams")


def test_what_can_not_be_is_said_and_what_was_typed_stays(house: House) -> None:
    answer = house.alice.post("/streams/create", {**FORM, "address": "http://u:p@siem.test/typed"})
    assert answer.status_code == 422
    assert "http://u:p@siem.test/typed" in answer.content.decode()
    assert "address_refused" in answer.content.decode()
    assert not Stream.objects.exists()


def test_a_failure_is_shown_with_its_reason(house: House, settings: LazySettings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    with WebhookServer() as server:
        server.answer = 503
        form = {**FORM, "selection": "", "since": "beginning", "address": server.address}
        house.alice.post("/streams/create", form)
        stream = Stream.objects.get()
        delivering.deliver(stream.pk, clock=lambda: house.desk.now)
        page = house.carol.words("/streams")
        assert "Fails" in page
        assert "it answered 503" in page
        page = house.carol.words(f"/streams/{stream.slug}/")
        assert "Failures in a row" in page
        assert "it answered 503" in page
        tested = house.alice.post(f"/streams/{stream.slug}/test")
        assert tested.status_code == 502
        assert "it answered 503" in tested.content.decode()
        server.answer = 200
        assert house.alice.post(f"/streams/{stream.slug}/test").status_code == 302
        assert "took a test message" in house.alice.words(f"/streams/{stream.slug}/")


def test_a_stream_is_changed_stopped_gone_on_with_and_removed(house: House) -> None:
    slug = house.stream
    changed = {"address": "https://other.acme.test/", "selection": "effect.", "authority": ""}
    house.alice.post(f"/streams/{slug}/change", changed)
    house.alice.post(f"/streams/{slug}/switch", {"enabled": "0"})
    row = Stream.objects.get()
    assert (row.address, row.selection, row.enabled) == (
        "https://other.acme.test/",
        "effect.",
        False,
    )
    assert "Stopped" in house.alice.words("/streams")
    house.alice.post(f"/streams/{slug}/switch", {"enabled": "1"})
    assert Stream.objects.get().enabled
    before = bytes(row.secret or b"")
    rotated = house.alice.post_once(f"/streams/{slug}/", f"/streams/{slug}/secret")
    assert "whsec_" in rotated.content.decode()
    assert bytes(Stream.objects.get().secret or b"") != before
    house.alice.post(f"/streams/{slug}/remove")
    assert not Stream.objects.exists()


def test_a_new_secret_whose_page_is_loaded_again_is_not_replaced(house: House) -> None:
    path = f"/streams/{house.stream}/secret"
    shown = house.alice.post_once(f"/streams/{house.stream}/", path)
    before = bytes(Stream.objects.get().secret or b"")
    again = house.alice.post(path, shown.wsgi_request.POST.dict())
    assert again.status_code == 409
    assert "This was done already" in again.content.decode()
    assert house.alice.post(path).status_code == 422
    assert bytes(Stream.objects.get().secret or b"") == before


def test_an_auditor_sees_no_forms(house: House) -> None:
    assert house.stream in house.carol.words("/streams")
    page = house.carol.words("/streams")
    assert "/streams/create" not in page
    page = house.carol.words(f"/streams/{house.stream}/")
    assert '<form method="post" action="/streams' not in page


def test_a_change_that_can_not_be_is_said_and_what_was_typed_stays(house: House) -> None:
    wrong = {"address": "https://u:p@typed.test/", "selection": "", "authority": ""}
    answer = house.alice.post(f"/streams/{house.stream}/change", wrong)
    assert answer.status_code == 422
    assert "https://u:p@typed.test/" in answer.content.decode()
    assert Stream.objects.get().address == "https://siem.acme.test/in"
