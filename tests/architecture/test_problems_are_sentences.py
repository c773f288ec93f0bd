"""The law: a problem's message is whole sentences, whatever it is told."""

from __future__ import annotations

import string

import pytest

from audit.errors import Problem
from countersign import reference

reference.load_everything()


def every(kind: type[Problem]) -> list[type[Problem]]:
    """The class itself, and all that come of it."""
    return [kind, *(below for made in kind.__subclasses__() for below in every(made))]


def said(kind: type[Problem], value: str) -> str:
    """The problem's message, with `value` for all that it is told."""
    fields = [name for _, name, _, _ in string.Formatter().parse(kind.__doc__ or "") if name]
    return str(kind(**dict.fromkeys(fields, value)))


@pytest.mark.parametrize("kind", every(Problem), ids=lambda kind: kind.__qualname__)
def test_no_message_ends_in_two_full_stops(kind: type[Problem]) -> None:
    assert "followed.." not in said(kind, "redirects are not followed.")


def test_only_the_full_stop_of_a_sentence_is_left_out() -> None:
    class Told(Problem):
        """It is {this}, and {that}."""

    assert str(Told(this="a. b.", that="c d.")) == "It is a. b., and c d."
    assert str(Told(this=".", that="and so on...")) == "It is ., and and so on..."
    assert Told(this="x", that="c.").details == {"this": "x", "that": "c."}
