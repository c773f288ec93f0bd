"""The law: codes and kinds are unique, whole, and where a newcomer looks for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from audit.errors import Problem
from audit.events import Event, KindTaken, registry
from countersign import reference

SNAKE = re.compile(r"[a-z]+(_[a-z0-9]+)*")
DOTTED = re.compile(rf"{SNAKE.pattern}\.{SNAKE.pattern}")


def _below(root: type[Problem]) -> Iterator[type[Problem]]:
    for made in root.__subclasses__():
        yield made
        yield from _below(made)


def _ours() -> list[type[Problem]]:
    reference.load_everything()
    return [made for made in _below(Problem) if reference.is_ours(made)]


def _twice(problems: list[type[Problem]]) -> dict[str, list[str]]:
    """The codes that more than one class has, with the classes."""
    counted = Counter(made.code for made in problems)
    return {
        code: sorted(f"{made.__module__}.{made.__name__}" for made in problems if made.code == code)
        for code, times in counted.items()
        if times > 1
    }


def _unfinished(problems: list[type[Problem]]) -> list[str]:
    """Those without a code, a status or a message of their own kind: the root's say nothing."""
    return [
        made.__qualname__
        for made in problems
        if not SNAKE.fullmatch(made.code)
        or made.code == Problem.code
        or not any("status" in vars(above) for above in made.__mro__ if above is not Problem)
        or not (made.__doc__ or "").strip()
    ]


def test_a_code_means_one_problem() -> None:
    assert _twice(_ours()) == {}


def test_every_problem_has_a_code_a_status_and_a_message() -> None:
    assert _unfinished(_ours()) == []


def test_no_other_code_is_that_of_a_problem() -> None:
    codes = {made.code for made in _ours()}
    assert {code for code, _, _ in reference.literal_codes()} & codes == set()
    assert set(reference.OUTCOMES) & codes == set()


def test_every_kind_is_a_noun_and_what_became_of_it() -> None:
    reference.load_everything()
    kinds = {kind for kind, made in registry().items() if reference.is_ours(made)}
    assert [kind for kind in kinds if not DOTTED.fullmatch(kind)] == []


def test_a_kind_means_one_event() -> None:
    with pytest.raises(KindTaken, match=r"effect\.begun"):

        class Twice(Event, kind="effect.begun"):
            """Somebody took a kind that is taken."""


def test_the_kinds_of_an_app_are_in_its_events() -> None:
    reference.load_everything()
    elsewhere = [
        f"{made.__module__}.{made.__name__}"
        for made in registry().values()
        if reference.is_ours(made) and not made.__module__.endswith(".events")
    ]
    assert elsewhere == []


def test_the_law_bites() -> None:
    class Settled(Problem):
        """Again."""

        code = "already_settled"
        status = 409

    class Vague(Problem):
        """No code, no status."""

    class Misspelt(Problem):
        """No word."""

        code = "Not A Word"
        status = 400

    assert set(_twice([*_ours(), Settled])) == {"already_settled"}
    found = _unfinished([*_ours(), Vague, Misspelt])
    assert [name.rpartition(".")[2] for name in found] == ["Vague", "Misspelt"]
