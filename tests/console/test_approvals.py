"""The reviewer's desk."""

from __future__ import annotations

from datetime import timedelta

import pytest
from acme_house import House
from visiting import Visitor

from governance.models import Approval, State
from runtime import runs
from runtime.models import RunState, Tool
from runtime.queries import steps_of

pytestmark = pytest.mark.usefixtures("refund_held")


def _vote(house: House, person: str, verdict: str, reason: str = "") -> object:
    path = f"/approvals/{house.approval}/vote"
    return house.people[person].post(path, {"verdict": verdict, "reason": reason})


def _approval(house: House) -> Approval:
    return Approval.objects.get(pk=house.approval)


def test_the_queue_shows_what_waits_with_its_arguments(house: House) -> None:
    page = house.bob.words("/approvals")
    assert f"/approvals/{house.approval}" in page
    assert "amount_cents" in page
    assert "12900" in page


def test_the_queue_refreshes_itself_without_its_frame(house: House) -> None:
    part = house.bob.get("/approvals", HX_Request="true").content.decode()
    assert part.lstrip().startswith('<div id="queue"')
    assert 'hx-trigger="every 3s"' in part
    assert "<html" not in part


def test_an_approval_shows_what_will_happen_why_and_what_led_to_it(house: House) -> None:
    page = house.bob.words(f"/approvals/{house.approval}")
    assert "refund-desk wants to use the tool refund_order" in page
    assert "= 129.00" in page
    assert "It changes something outside." in page
    assert "No policy permits it without a reviewer." in page
    assert "granted-tools" in page
    assert "Refund 129.00 of order 1042" in page
    assert "Result of look_up_order" in page
    assert "untrusted: from outside" in page
    assert "untrusted: from a document" in page
    assert f"/passages/{house.passage}" in page or "/passages/" in page


def test_an_argument_says_where_its_value_was_seen(house: House) -> None:
    page = house.bob.words(f"/approvals/{house.approval}")
    rows = page[page.index("cs-arguments") : page.index("</table>")]
    assert "The task" in rows
    assert "nowhere: the model" not in rows


def test_a_reviewer_approves_and_the_run_ends(house: House) -> None:
    answer = _vote(house, "bob", "approve")
    assert answer["Location"] == f"/approvals/{house.approval}"
    assert "Approved: use the tool refund_order." in house.bob.words(answer["Location"])
    assert _approval(house).state == State.APPROVED
    run = house.desk.work(house.held)
    assert run.state == RunState.COMPLETED
    assert house.desk.world.refunds == [{"order_id": "1042", "amount_cents": 12_900}]
    assert "See the run" in house.bob.words(f"/approvals/{house.approval}")


def test_a_reviewer_rejects_with_a_reason_and_the_agent_is_told(house: House) -> None:
    _vote(house, "bob", "reject", "Too much for one pole.")
    assert _approval(house).state == State.REJECTED
    run = house.desk.work(house.held)
    assert run.state == RunState.COMPLETED
    assert house.desk.world.refunds == []
    assert "Too much for one pole." in str([step.turn for step in steps_of(run)])
    assert "Too much for one pole." in house.carol.words(f"/approvals/{house.approval}")


def test_a_rejection_without_a_reason_says_so_beside_the_form(house: House) -> None:
    answer = _vote(house, "bob", "reject", "  ")
    assert answer.status_code == 422
    page = answer.content.decode()
    assert page.index("needs a reason") > page.index("Your vote")
    assert _approval(house).state == State.PENDING


def test_a_vote_that_says_nothing_rejects_nothing_and_approves_nothing(house: House) -> None:
    answer = house.bob.post(f"/approvals/{house.approval}/vote", {})
    assert answer.status_code == 422
    assert _approval(house).state == State.PENDING


def test_the_second_vote_is_told_how_it_ended(house: House) -> None:
    _vote(house, "bob", "approve")
    answer = _vote(house, "alice", "reject", "No.")
    assert answer.status_code == 409
    assert "was settled already" in answer.content.decode()
    assert _approval(house).state == State.APPROVED


def test_an_auditor_reads_and_sees_why_there_is_no_vote(house: House) -> None:
    page = house.carol.words(f"/approvals/{house.approval}")
    assert "Only reviewers and admins vote." in page
    assert 'name="verdict"' not in page
    assert _vote(house, "carol", "approve").status_code == 403


def test_whoever_asked_sees_why_they_can_not_vote_and_can_not(house: House) -> None:
    bob = house.desk.cast.bob.id
    Approval.objects.update(requester=bob, excluded=[bob])
    assert "You asked for this" in house.bob.words(f"/approvals/{house.approval}")
    assert _vote(house, "bob", "approve").status_code == 403
    assert _approval(house).state == State.PENDING


def test_the_agents_author_sees_why_they_can_not_vote_and_can_not(house: House) -> None:
    Approval.objects.update(excluded=[house.desk.cast.alice.id])
    assert "You wrote this agent" in house.alice.words(f"/approvals/{house.approval}")
    assert _vote(house, "alice", "approve").status_code == 403
    assert _approval(house).state == State.PENDING


def test_an_expired_approval_takes_no_vote(house: House) -> None:
    past = house.desk.now - timedelta(minutes=1)
    Approval.objects.update(expires_at=past)
    assert "Its time is over" in house.bob.words(f"/approvals/{house.approval}")
    assert _vote(house, "bob", "approve").status_code == 409


def test_what_was_settled_is_under_its_own_heading(house: House) -> None:
    _vote(house, "bob", "reject", "No.")
    assert "Nothing waits" in house.bob.words("/approvals")
    assert house.approval in house.bob.words("/approvals", {"show": "rejected"})
    runs.expire_approvals(house.desk.now)
    assert house.approval not in house.bob.words("/approvals", {"show": "over"})


def test_csrf_is_enforced_on_a_vote(house: House) -> None:
    strict = Visitor(house.desk.cast.tenant, house.desk.cast.bob, enforce_csrf_checks=True)
    path = f"/approvals/{house.approval}/vote"
    assert strict.post(path, {"verdict": "approve"}).status_code == 403
    assert _approval(house).state == State.PENDING


def test_evidence_that_pretends_to_be_markup_is_shown_as_text(house: House) -> None:
    evil = "<script>alert(1)</script>"
    piece = {"kind": "result", "title": f"use_tool:{evil}", "text": evil}
    passage = {"kind": "passage", "document": evil, "ref": "P1", "passage_id": "../x", "text": evil}
    Approval.objects.update(evidence=[piece, passage])
    page = house.bob.words(f"/approvals/{house.approval}")
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "../x" not in page


def test_arguments_called_like_methods_are_shown_too(house: House) -> None:
    row = _approval(house)
    Approval.objects.update(intent={**row.intent, "arguments": {"items": "all", "keys": None}})
    assert "all" in house.bob.words("/approvals")
    assert "items" in house.bob.words(f"/approvals/{house.approval}")


def test_a_tab_that_is_none_is_named(house: House) -> None:
    answer = house.bob.get("/approvals", {"show": "zzz"})
    assert answer.status_code == 422
    assert "show can&#x27;t be zzz. It is one of waiting" in answer.content.decode()


def test_the_page_says_that_the_tool_was_changed_meanwhile(house: House) -> None:
    warning = "was changed after this was proposed"
    assert warning not in house.bob.words(f"/approvals/{house.approval}")
    Tool.objects.filter(slug="refund_order").update(url="https://elsewhere.acme.test/refunds")
    assert warning in house.bob.words(f"/approvals/{house.approval}")
    assert _vote(house, "bob", "approve").status_code == 302
    steps = steps_of(house.desk.work(house.held))
    assert "tool_changed" in [step.error_code for step in steps]


def test_whoever_is_said_to_be_asked_for_reads_that_it_was_said(house: House) -> None:
    row = _approval(house)
    row.intent["on_behalf_of"] = house.desk.cast.bob.id
    row.excluded = [*row.excluded, house.desk.cast.bob.id]
    row.save()
    page = house.bob.words(f"/approvals/{house.approval}")
    assert "says that it is on your behalf" in page
    assert "On behalf of" in page
    assert "You asked for this" not in page
