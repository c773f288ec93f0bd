"""Roles see only their rooms: in the navigation and behind every address alike."""

from __future__ import annotations

import re

import pytest
from acme_house import EVERYBODY, House
from django.urls import URLPattern

from console import rooms
from console.urls import urlpatterns

pytestmark = pytest.mark.usefixtures("refund_held")

READ = {
    "home": set(EVERYBODY),
    "approvals": {"alice", "bob", "carol"},
    "runs": set(EVERYBODY),
    "agents": {"alice", "dave"},
    "tools": {"alice", "dave"},
    "documents": {"alice", "bob", "dave", "vera"},
    "policies": {"alice", "dave", "carol"},
    "ledger": {"alice", "carol"},
    "streams": {"alice", "carol"},
    "erasures": {"alice", "carol"},
    "members": {"alice"},
    "keys": {"alice"},
}
CHANGE = {
    "approvals": {"alice", "bob"},
    "runs": {"alice", "bob", "dave"},
    "agents": {"alice", "dave"},
    "tools": {"alice", "dave"},
    "documents": {"alice", "dave"},
    "policies": {"alice"},
    "ledger": {"alice", "carol"},
    "streams": {"alice"},
    "erasures": {"alice", "carol"},
    "members": {"alice"},
    "keys": {"alice"},
}
# Each address by its name: its room, and whether it changes something.
ADDRESSES = {
    "home": ("home", False),
    "approvals": ("approvals", False),
    "approval": ("approvals", False),
    "vote": ("approvals", True),
    "runs": ("runs", False),
    "run": ("runs", False),
    "run_outcome": ("runs", False),
    "cancel_run": ("runs", True),
    "start_run": ("runs", True),
    "agents": ("agents", False),
    "agent": ("agents", False),
    "agent_version": ("agents", False),
    "create_agent": ("agents", True),
    "publish_version": ("agents", True),
    "set_grant": ("agents", True),
    "tools": ("tools", False),
    "tool": ("tools", False),
    "add_tool": ("tools", True),
    "change_tool": ("tools", True),
    "remove_tool": ("tools", True),
    "documents": ("documents", False),
    "collection": ("documents", False),
    "document": ("documents", False),
    "download_document": ("documents", False),
    "passage": ("documents", False),
    "search": ("documents", False),
    "create_collection": ("documents", True),
    "upload": ("documents", True),
    "remove_document": ("documents", True),
    "policies": ("policies", False),
    "policy_version": ("policies", False),
    "edit_policies": ("policies", True),
    "ledger": ("ledger", False),
    "entry": ("ledger", False),
    "decision": ("ledger", False),
    "proof": ("ledger", False),
    "verify": ("ledger", False),
    "ledger_status": ("ledger", False),
    "saved_views": ("ledger", False),
    "save_view": ("ledger", False),
    "change_view": ("ledger", False),
    "remove_view": ("ledger", False),
    "exports": ("ledger", False),
    "begin_export": ("ledger", False),
    "export": ("ledger", False),
    "download_export": ("ledger", False),
    "approve_recovery": ("ledger", False),
    "streams": ("streams", False),
    "stream": ("streams", False),
    "create_stream": ("streams", True),
    "change_stream": ("streams", True),
    "switch_stream": ("streams", True),
    "test_stream": ("streams", True),
    "rotate_stream": ("streams", True),
    "remove_stream": ("streams", True),
    "erasures": ("erasures", False),
    "request_erasure": ("erasures", True),
    "approve_erasure": ("erasures", True),
    "reject_erasure": ("erasures", True),
    "place_hold": ("erasures", True),
    "release_hold": ("erasures", True),
    "set_retention": ("erasures", True),
    "members": ("members", False),
    "member": ("members", False),
    "add_member": ("members", True),
    "set_roles": ("members", True),
    "remove_member": ("members", True),
    "keys": ("keys", False),
    "issue_key": ("keys", True),
    "revoke_key": ("keys", True),
}
OPEN = {"sign_in", "sign_out"}
# Rows that are one member's alone, whoever else enters the room.
OWNED = {"export": "carol", "download_export": "carol"}
NAMED = {str(pattern.name): pattern for pattern in urlpatterns}
UNKNOWN = "00000000-0000-7000-8000-000000000000"
NOUNS = ("approvals", "runs", "documents", "passages", "ledger", "members")
NOTHING = (
    "/agents/nobody/",
    "/agents/refund-desk/versions/99",
    "/tools/nothing/",
    "/collections/nothing/",
    "/policies/99",
)


def _address(pattern: URLPattern, house: House) -> str:
    values = {
        "approval": house.approval,
        "run": str(house.held.pk),
        "agent": "refund-desk",
        "number": "1",
        "tool": "refund_order",
        "document": house.document,
        "passage": house.passage,
        "collection": "handbook",
        "entry": house.entry,
        "erasure": house.erasure,
        "export": house.export,
        "view": house.view,
        "hold": house.hold,
        "stream": house.stream,
        "halt": UNKNOWN,
        "member": house.member,
        "key": house.key,
    }
    route = str(pattern.pattern)
    return "/" + re.sub(r"<\w+:(\w+)>", lambda match: values[match[1]], route)


def test_the_table_names_every_address() -> None:
    assert {pattern.name for pattern in urlpatterns} == {*ADDRESSES, *OPEN}


def test_the_navigation_has_the_rooms_of_the_role_and_no_others(house: House) -> None:
    for person in EVERYBODY:
        page = house.people[person].words("/")
        navigation = page[page.index('<nav aria-label="Rooms">') : page.index("</nav>")]
        linked = set(re.findall(r'href="/(\w*)"', navigation))
        assert linked == {slug.replace("home", "") for slug, seen in READ.items() if person in seen}


def _doors(house: House) -> list[tuple[str, set[str]]]:
    """Every address, and who may use it."""
    found = []
    for pattern in urlpatterns:
        if pattern.name not in OPEN:
            room, changes = ADDRESSES[str(pattern.name)]
            allowed = CHANGE.get(room, set()) if changes else READ[room]
            found.append((_address(pattern, house), allowed))
    return found


def test_every_address_of_another_room_answers_403_and_does_nothing(house: House) -> None:
    for address, allowed in _doors(house):
        for person in set(EVERYBODY) - allowed:
            visitor = house.people[person]
            for answer in (visitor.get(address), visitor.post(address)):
                assert answer.status_code == 403, (person, address)
                assert "This needs the role" in answer.content.decode()


def test_every_page_of_an_own_room_opens(house: House) -> None:
    owners = {_address(NAMED[name], house): owner for name, owner in OWNED.items()}
    for address, allowed in _doors(house):
        for person in allowed:
            status = house.people[person].get(address).status_code
            is_anothers = owners.get(address, person) != person
            # 404: another's export, or an entry that is no decision; 409: nothing is sealed yet
            expected = {404} if is_anothers else {200, 302, 404, 405, 409}
            assert status in expected, (person, address, status)


def test_what_does_not_exist_is_a_page_with_404(house: House) -> None:
    nobody = "0199a0c5-0000-7000-8000-000000000000"
    rows = [f"/{noun}/{nobody}" for noun in NOUNS]
    for address in (*rows, *NOTHING):
        answer = house.alice.get(address)
        assert answer.status_code == 404, address
        assert "Not found" in answer.content.decode()


def test_mallory_finds_nothing_of_acme_on_her_own_host(house: House, mallory: object) -> None:
    for address in (
        f"/approvals/{house.approval}",
        f"/runs/{house.held.pk}",
        f"/documents/{house.document}",
        f"/ledger/{house.entry}",
        f"/members/{house.member}",
        "/agents/refund-desk/",
    ):
        assert mallory.get(address).status_code == 404, address


def test_every_room_says_who_enters() -> None:
    for room in rooms.ROOMS:
        assert room.change <= room.enter
        assert room.slug in READ
