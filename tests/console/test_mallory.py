"""Another tenant's rows look like rows that do not exist; a session opens its own host alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from acme_house import House
from builders import furnished_desk
from cast import Cast
from django.test import override_settings
from django.urls import URLPattern
from mallorys_visits import LISTS, MISSING_ID, NOBODYS, ROWS
from own_halts import halt
from stage import SETS
from visiting import Visitor

from audit import queries as audit_queries
from console.urls import urlpatterns
from governance.models import PolicySet
from tenants import isolation

NAMED = {str(pattern.name): pattern for pattern in urlpatterns}


def _acmes(house: House) -> dict[str, Any]:
    return {
        "approval": house.approval,
        "run": house.held.pk,
        "agent": "refund-desk",
        "number": 97,
        "tool": "refund_order",
        "document": house.document,
        "passage": house.passage,
        "collection": "handbook",
        "entry": house.entry,
        "erasure": house.erasure,
        "export": house.export,
        "hold": house.hold,
        "stream": house.stream,
        "view": house.view,
        "member": house.member,
        "key": house.key,
        "halt": halt(),
    }


def _address(pattern: URLPattern, values: dict[str, Any]) -> str:
    filled = re.sub(r"<\w+:(\w+)>", lambda found: str(values[found[1]]), str(pattern.pattern))
    return f"/{filled}"


def _missing(values: dict[str, Any]) -> dict[str, Any]:
    return {name: NOBODYS.get(name, MISSING_ID) for name in values}


def _try(visitor: Visitor, method: str, address: str, form: dict[str, Any]) -> Any:
    return visitor.get(address) if method == "GET" else visitor.post(address, form)


def _blurred(answer: Any, values: dict[str, Any]) -> str:
    """The page without the name that was asked for and without what is fresh in each page."""
    text: str = answer.content.decode()
    for value in values.values():
        text = re.sub(rf"(?<!\w){re.escape(str(value))}(?!\w)", "X", text)
    return re.sub(r'((?:csrfmiddlewaretoken|once)" value=|nonce=|X-CSRFToken": )"[^"]*"', "", text)


def _at_work(request: pytest.FixtureRequest) -> dict[str, Any]:
    """acme at work today, with a 97th policy, which globex has not: what its addresses are of."""
    desk = furnished_desk(request, datetime.now(UTC))
    with isolation.acting_for(desk.cast.tenant), override_settings(ALLOW_PRIVATE_ADDRESSES=True):
        active = PolicySet.objects.get(active=True)
        PolicySet.objects.create(
            version=97,
            text=active.text,
            sha256=active.sha256,
            author=active.author,
            active=False,
            created_at=desk.now,
        )
        return _acmes(House(desk))


SETS["at_work"] = _at_work


@pytest.fixture
def acmes(acme: Cast, at_work: dict[str, Any]) -> dict[str, Any]:
    """What acme's addresses are made of."""
    return at_work


@pytest.mark.parametrize("name", sorted(ROWS))
def test_mallory_finds_the_same_404_for_acmes_row_as_for_one_that_does_not_exist(
    name: str, acmes: dict[str, Any], mallory: Visitor
) -> None:
    for method, form in ROWS[name].items():
        theirs = _try(mallory, method, _address(NAMED[name], acmes), form)
        nothing = _try(mallory, method, _address(NAMED[name], _missing(acmes)), form)
        assert (theirs.status_code, nothing.status_code) == (404, 404), method
        assert _blurred(theirs, acmes) == _blurred(nothing, _missing(acmes)), method


def test_nothing_of_acme_is_on_mallorys_pages(acmes: dict[str, Any], mallory: Visitor) -> None:
    known = [str(value) for name, value in acmes.items() if name != "number"]
    for name in LISTS:
        answer = mallory.get(_address(NAMED[name], {}))
        text = "" if answer.streaming else answer.content.decode()
        assert not [word for word in [*known, "acme"] if word in text], name


def test_mallorys_session_is_nothing_on_acmes_host(
    acme: Cast, acmes: dict[str, Any], mallory: Visitor
) -> None:
    assert mallory.get("/").status_code == 200
    stranger = Visitor(acme.tenant)
    stranger.client.cookies = mallory.client.cookies
    before = audit_queries.entries().count()
    for name, methods in ({name: {"GET": {}} for name in LISTS} | ROWS).items():
        for method, form in methods.items():
            answer = _try(stranger, method, _address(NAMED[name], acmes), form)
            assert answer.status_code == 302, name
            assert answer["Location"].startswith("/sign-in?"), name
    assert audit_queries.entries().count() == before
