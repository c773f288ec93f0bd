"""Intents and permits: one right, for exactly one act."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import NotCanonical
from audit.ids import new_id
from governance import intents, permits
from governance.intents import CallModel, Intent, Remember, SearchCollection, UseTool
from governance.permits import Permit, PermitMismatch, PermitSpent

RUN = str(new_id())


def refund(**changes: Any) -> UseTool:
    values: dict[str, Any] = {
        "tenant": "acme",
        "principal_kind": "agent",
        "principal": "refund-desk",
        "agent_version": "3",
        "resource": "refund_order",
        "arguments": {"order_id": "A1", "amount": 5000},
        "run": RUN,
        "step": 2,
        "on_behalf_of": "erin",
    }
    return UseTool(**(values | changes))


def test_a_permit_is_used_once() -> None:
    permit = permits.mint(refund(), new_id())
    permit.spend(refund())
    with pytest.raises(PermitSpent):
        permit.spend(refund())


def test_a_permit_is_for_its_intent_alone_and_stays_unused() -> None:
    permit = permits.mint(refund(), new_id())
    with pytest.raises(PermitMismatch):
        permit.spend(refund(arguments={"order_id": "A1", "amount": 5001}))
    permit.spend(refund())


def test_arguments_changed_after_the_decision_no_longer_fit() -> None:
    intent = refund()
    permit = permits.mint(intent, new_id())
    intent.arguments["amount"] = 500_000
    with pytest.raises(PermitMismatch):
        permit.spend(intent)


def test_of_many_threads_one_spends_it() -> None:
    intent, permit = refund(), permits.mint(refund(), new_id())

    def spend(_: int) -> bool:
        try:
            permit.spend(intent)
        except PermitSpent:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(64))) == 1


def test_nobody_makes_a_permit_by_hand() -> None:
    with pytest.raises(TypeError):
        Permit(digest=refund().digest, decision_id=new_id(), mint=object())


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_permit_cannot_be_copied(duplicate: Any) -> None:
    with pytest.raises(TypeError):
        duplicate(permits.mint(refund(), new_id()))


CHANGES: list[dict[str, Any]] = [
    {"tenant": "globex"},
    {"principal_kind": "member"},
    {"principal": "refund-desk-2"},
    {"agent_version": "4"},
    {"agent_version": None},
    {"resource": "refund_orders"},
    {"arguments": {"order_id": "A1", "amount": 5001}},
    {"arguments": {"order_id": "A1"}},
    {"arguments": {"order_id": "A1", "amount": "5000"}},
    {"run": "01890a5d-ac96-774b-bcce-b302099a8057"},
    {"run": None},
    {"step": 3},
    {"step": None},
    {"on_behalf_of": "mallory"},
    {"on_behalf_of": None},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_digest_changes_when_anything_changes(change: dict[str, Any]) -> None:
    assert refund(**change).digest != refund().digest


def test_every_field_is_in_the_digest() -> None:
    changed = {name for change in CHANGES for name in change}
    assert changed == set(UseTool.__struct_fields__)


def test_the_action_is_in_the_digest() -> None:
    values = msgspec.structs.asdict(refund())
    kinds: list[type[Intent]] = [CallModel, SearchCollection, UseTool, Remember]
    assert len({kind(**values).digest for kind in kinds}) == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    one=st.dictionaries(st.text(), JSON, max_size=4),
    other=st.dictionaries(st.text(), JSON, max_size=4),
)
def test_different_arguments_have_different_digests(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    same = intents.canonical.encode(one) == intents.canonical.encode(other)
    assert (refund(arguments=one).digest == refund(arguments=other).digest) is same


@given(arguments=st.dictionaries(st.text(), JSON, max_size=4))
def test_an_intent_survives_being_stored(arguments: dict[str, Any]) -> None:
    intent = refund(arguments=arguments)
    stored = msgspec.json.decode(msgspec.json.encode(intents.as_json(intent)))
    assert intents.canonical.digest(stored) == intent.digest


def test_the_order_of_arguments_does_not_matter() -> None:
    assert refund(arguments={"amount": 5000, "order_id": "A1"}).digest == refund().digest


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, b"bytes", {1: "x"}], ids=str)
def test_what_cannot_be_hashed_exactly_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        _ = refund(arguments={"amount": value}).digest


@pytest.mark.parametrize("awaits", ["sealed", "cosigned"])
def test_a_permit_that_awaits_the_ledger_can_not_be_spent_before(awaits: Any) -> None:
    permit = permits.mint(refund(), new_id(), awaits=awaits)
    with pytest.raises(permits.PermitEarly):
        permit.spend(refund())
    assert not permit.reached("recorded")
    assert permit.reached("published") == (awaits == "sealed")
    assert permit.reached("cosigned")
    assert permit.reached("recorded")  # nothing goes back
    permit.spend(refund())
    with pytest.raises(permits.PermitSpent):
        permit.spend(refund())
