"""The only place that tests canonical JSON."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audit import canonical
from audit.canonical import NotCanonical
from audit.verify import json_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none() | st.booleans() | st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER) | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_the_bytes_are_those_of_the_rfc8785_library(value):
    assert canonical.encode(value) == rfc8785.dumps(value)


@given(VALUES)
def test_the_verifier_knows_the_canonical_form_on_its_own(value):
    assert json_text.canonical(value) == canonical.encode(value)
    assert json_text.load_canonical(canonical.encode(value)) == value


@pytest.mark.parametrize("raw", ['{"b":1,"a":2}', '{"a":1,"a":1}', '{"a": 1}', "[1.0]", "NaN",
    '"\\u00fc"', '"\\ud800"', '{"\ufb33":1,"\U0001f600":2}', "[" * 600 + "]" * 600, "1" * 5000],
)  # fmt: skip
def test_the_verifier_refuses_what_is_not_canonical(raw: str):
    with pytest.raises(ValueError, match=r"."):
        json_text.canonical(json_text.load_canonical(raw.encode()))


def test_keys_are_in_the_order_of_utf16_units():
    assert (
        canonical.encode({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()
    )


def test_a_tuple_is_an_array_and_a_choice_is_its_text():
    class State(enum.StrEnum):
        HELD = "held"

    assert (
        canonical.encode({"state": State.HELD, "votes": (1, 2)})
        == b'{"state":"held","votes":[1,2]}'
    )


def test_the_digest_is_sha256_in_hexadecimal():
    assert (
        canonical.digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (1.0, ""),
        ({"amount": [1, {"a/b~c": 0.5}]}, "/amount/1/a~1b~0c"),
        ({"n": float("nan")}, "/n"),
        ([2**53], "/0"),
        ([-(2**53)], "/0"),
        ({"id": uuid4()}, "/id"),
        ({"at": datetime(2026, 3, 2, tzinfo=UTC)}, "/at"),
        ({"raw": b"x"}, "/raw"),
        ({"set": {1}}, "/set"),
        ({1: "x"}, ""),
        ({"half": "\ud800"}, "/half"),
        ({"\ud800": 1}, "/?"),
        ([{"é": 1}, {"deep": 0.5}], "/1/deep"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_its_place(value, pointer):
    with pytest.raises(NotCanonical) as refusal:
        canonical.encode(value)
    assert refusal.value.details["pointer"] == pointer
    assert refusal.value.code == "not_canonical"


def test_a_value_that_is_nested_without_end_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(NotCanonical, match="deeper than 100 levels"):
        canonical.encode(value)


def test_a_hundred_levels_are_not_too_many():
    value: object = 1
    for _ in range(canonical.MAX_DEPTH):
        value = [value]
    assert canonical.encode(value).startswith(b"[[[[")
