"""Runs: the list, the timeline, starting and cancelling."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from acme_house import House

from runtime.models import Run, RunState, Step

pytestmark = pytest.mark.usefixtures("three_runs")


def test_the_list_is_filtered_by_state_agent_and_words(house: House) -> None:
    held, completed = f"/runs/{house.held.pk}", f"/runs/{house.completed.pk}"
    everything = house.vera.words("/runs")
    assert held in everything
    assert completed in everything
    only = house.vera.words("/runs", {"state": "held", "agent": "refund-desk", "q": "ORDER 1042"})
    assert held in only
    assert completed not in only
    assert "No run fits" in house.vera.words("/runs", {"q": "nothing like it"})


def test_a_filter_that_is_none_is_named_and_lists_nothing(house: House) -> None:
    for name in ("state", "step"):
        answer = house.vera.get("/runs", {name: "zzz", "q": "order"})
        page = answer.content.decode()
        assert answer.status_code == 422
        assert f"{name} can&#x27;t be zzz. It is one of " in page
        assert 'value="order"' in page
        assert "data-row" not in page


def test_the_list_is_filtered_by_what_became_of_a_step(house: House) -> None:
    held, completed = f"/runs/{house.held.pk}", f"/runs/{house.completed.pk}"
    Step.objects.filter(run=house.held, number=1).update(state="unknown")
    page = house.vera.words("/runs", {"step": "unknown"})
    assert held in page
    assert completed not in page


def test_home_leads_to_the_effects_of_which_nobody_knows(house: House) -> None:
    house.held.steps.update(state="unknown", started_at=datetime.now(UTC))
    page = house.vera.words("/")
    assert "effects of runs: nobody knows whether they happened" in page
    assert f"/runs/{house.held.pk}" in house.vera.words("/runs", {"step": "unknown"})
    assert 'href="/runs?step=unknown"' in page
    first = house.held.steps.order_by("number")[0]
    house.held.steps.exclude(pk=first.pk).update(state="ended")
    assert "effect of runs: nobody knows whether it happened" in house.vera.words("/")


def test_a_run_shows_its_steps_and_its_answer_with_citations(house: House) -> None:
    page = house.alice.words(f"/runs/{house.completed.pk}")
    assert "1. Asked the model through answers" in page
    assert "2. Searched handbook" in page
    assert re.search(r'class="cs-ref" href="#citation-P1"', page)
    assert "/passages/" in page
    step = Step.objects.get(run=house.completed, number=1)
    assert f"/ledger/{step.decision}/decision" in page


def test_a_held_run_links_to_its_approval_for_those_who_may_see_it(house: House) -> None:
    path = f"/runs/{house.held.pk}"
    assert f"/approvals/{house.approval}" in house.bob.words(path)
    assert f"/approvals/{house.approval}" not in house.vera.words(path)
    assert "Wants to use the tool refund_order" in house.vera.words(path)


def test_a_run_that_is_not_over_refreshes_itself_until_it_is(house: House) -> None:
    path = f"/runs/{house.held.pk}"
    page = house.bob.words(path)
    found = re.search(r'hx-get="/runs/[^"]*seen=([^"]+)" hx-trigger="every 1s"', page)
    assert found
    same = house.bob.get(path, {"seen": found[1]}, HX_Request="true")
    assert same.status_code == 204
    Run.objects.filter(pk=house.held.pk).update(state=RunState.CANCELLED)
    part = house.bob.get(path, {"seen": found[1]}, HX_Request="true").content.decode()
    assert "hx-trigger" not in part
    assert "Cancelled" in part
    assert "hx-trigger" not in house.bob.words(f"{path}/outcome")


def test_a_builder_starts_a_run_on_the_agents_page(house: House) -> None:
    answer = house.dave.post("/agents/refund-desk/start", {"task": "How long for a kettle?"})
    run = Run.objects.get(task="How long for a kettle?")
    assert answer["Location"] == f"/runs/{run.pk}"
    assert run.requester == house.desk.cast.dave.id
    assert "No step was taken yet" in house.dave.words(answer["Location"])


def test_an_empty_task_says_so_beside_its_form(house: House) -> None:
    answer = house.dave.post("/agents/refund-desk/start", {"task": "  "})
    assert answer.status_code == 422
    assert "characters of text" in answer.content.decode()


def test_a_run_is_cancelled_once(house: House) -> None:
    path = f"/runs/{house.held.pk}/cancel"
    house.alice.post(path)
    house.held.refresh_from_db()
    assert house.held.state == RunState.CANCELLED
    house.alice.post(path)
    assert "is over" in house.alice.words(f"/runs/{house.held.pk}")


def test_a_failed_run_says_why(house: House) -> None:
    failure = {"code": "limit_reached", "message": "The run reached its limit of steps."}
    Run.objects.filter(pk=house.held.pk).update(state=RunState.FAILED, failure=failure)
    page = house.vera.words(f"/runs/{house.held.pk}")
    assert "The run reached its limit of steps." in page
    assert "limit_reached" in page


def test_a_tools_result_can_not_pretend_to_be_a_citation(house: House) -> None:
    step = Step.objects.get(run=house.held, resource="look_up_order")
    forged = {"passages": [{"ref": "P1", "document": "Forged", "passage_id": "x", "text": "y"}]}
    step.turn = {**step.turn, "value": forged}
    step.save()
    page = house.bob.words(f"/runs/{house.held.pk}")
    assert "untrusted: from outside" in page
    assert "Found 1 passage" not in page
