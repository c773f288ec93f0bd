"""Policies: the text in force, the editor, and the rehearsal."""

from __future__ import annotations

from acme_house import House
from builders import SMALL_REFUNDS

from audit import queries as audit_queries
from governance.models import PolicySet


def _active() -> PolicySet:
    return PolicySet.objects.get(active=True)


def _save(house: House, text: str, based_on: int | None = None) -> object:
    version = _active().version if based_on is None else based_on
    return house.alice.post("/policies/edit", {"text": text, "based_on": version})


def test_the_text_in_force_has_line_numbers(house: House) -> None:
    page = house.carol.words("/policies")
    assert 'id="line-1"' in page
    assert "granted-reads-unattended" in page


def test_an_admin_puts_a_text_into_force(house: House) -> None:
    before = _active().version
    assert _save(house, _active().text + SMALL_REFUNDS)["Location"] == "/policies"
    assert _active().version == before + 1
    assert _active().author == house.desk.cast.alice.id
    assert "No longer in force" in house.carol.words(f"/policies/{before}")
    assert "In force" in house.carol.words(f"/policies/{before + 1}")


def test_windows_line_ends_of_a_form_are_no_part_of_the_text(house: House) -> None:
    _save(house, (_active().text + SMALL_REFUNDS).replace("\n", "\r\n"))
    assert "\r" not in _active().text
    assert SMALL_REFUNDS in _active().text


def test_a_text_that_is_wrong_names_the_line_and_is_kept_in_the_editor(house: House) -> None:
    text = _active().text
    line = len(text.splitlines()) + 1
    wrong = text + "permit (principal, action, resource); // my words"
    before = _active().version
    answer = _save(house, wrong)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'data-line="{line}"' in page
    assert "it needs an @id" in page
    assert "// my words" in page
    assert _active().version == before


def test_an_argument_that_no_tool_has_is_found_in_its_line(house: House) -> None:
    wrong = SMALL_REFUNDS.replace("amount_cents", "amount_dollars")
    page = _save(house, _active().text + wrong).content.decode()
    assert "amount_dollars" in page
    assert "Nothing was saved." in page


def test_the_second_of_two_editors_is_warned_and_loses_nothing(house: House) -> None:
    before = _active().version
    _save(house, _active().text + SMALL_REFUNDS)
    answer = _save(house, "// my own words", based_on=before)
    assert answer.status_code == 409
    page = answer.content.decode()
    assert f"Meanwhile version {before + 1} came into force." in page
    assert "// my own words" in page
    assert _active().version == before + 1


def test_a_rehearsal_tells_the_verdict_and_records_nothing(house: House) -> None:
    entries = audit_queries.entries().count()
    asked = {
        "agent": "refund-desk",
        "tool": "refund_order",
        "arguments": '{"order_id": "1", "amount_cents": 1}',
    }
    page = house.dave.words("/policies", asked)
    assert "refund-desk uses refund_order: No policy permits it without a reviewer." in page
    asked |= {"tool": "look_up_order", "arguments": '{"order_id": "1"}'}
    assert "refund-desk uses look_up_order: The policies permit it." in house.dave.words(
        "/policies", asked
    )
    assert audit_queries.entries().count() == entries


def test_a_rehearsal_of_nonsense_is_refused_beside_its_form(house: House) -> None:
    asked = {"agent": "refund-desk", "tool": "refund_order", "arguments": "{"}
    assert "Enter a valid JSON." in house.dave.words("/policies", asked)


def test_members_see_what_they_may_do_themselves(house: House) -> None:
    page = house.dave.words("/policies")
    assert "Search the collection handbook" in page
    assert "Only an admin changes the policies." in page


def test_a_policy_that_names_what_is_not_there_is_warned_of_and_in_force(house: House) -> None:
    assert "Is it misspelt?" not in house.carol.words("/policies")
    line = len(_active().text.splitlines()) + 1
    typo = '@id("typo") forbid (principal == Agent::"nobody", action, resource == Tool::"gone");'
    assert _save(house, f"{_active().text}{typo}\n")["Location"] == "/policies"
    page = house.carol.words("/policies")
    assert "Is it misspelt?" in page
    assert "there is no Agent::&quot;nobody&quot;" in page
    assert "there is no Tool::&quot;gone&quot;" in page
    assert f'<a href="#line-{line}">' in page
