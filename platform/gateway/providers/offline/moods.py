"""The only place that tells a command from a question, a refusal, a condition or a report."""

from __future__ import annotations

import re

import msgspec

from gateway.providers.offline import lexicon
from gateway.providers.offline.words import stem, words

QUOTED = re.compile(
    r"```[^`]*(?:```|$)|\"[^\"\n]{0,2000}\"|“[^”\n]{0,2000}”|«[^»\n]{0,2000}»|^[ \t]*>.*$",
    re.MULTILINE,
)
CLAUSE_END = re.compile(r"(?<=[.!?;])\s+|\n+|;|(?:,\s*)?\b(?:but|then|however)\b", re.IGNORECASE)
WITHDRAWN = re.compile(
    r"^\W*(?:no|stop|wait|never\s?mind|forget it|(?:no\W+)?(?:please )?"
    r"(?:don['\u2019]t|do not)(?: do)?(?: it| that| this)?(?: yet)?)\W*$",
    re.IGNORECASE,
)
MODALS = lexicon.word_set("can could would will")
NEAR = 5


class Wish(msgspec.Struct, frozen=True):
    """What a request says about one act: in which clause it asks, and what speaks against it."""

    clause: str | None
    refused: bool = False
    conditional: bool = False


def own_words(text: str) -> str:
    """`text` without what it only quotes: quotation marks, code fences, forwarded lines."""
    return QUOTED.sub(" ", text)


def clauses(text: str) -> list[str]:
    """The parts of the speaker's own words that are commanded or asked on their own."""
    return [clause for clause in CLAUSE_END.split(own_words(text)) if clause and clause.strip()]


def asks(text: str) -> bool:
    """Whether any clause of `text` is a question, polite commands included."""
    return any("?" in clause or _interrogative(clause) for clause in clauses(text))


def wish(text: str, verbs: frozenset[str]) -> Wish:
    """What `text` says about doing one of `verbs` (stems).

    A clause commands where the verb stands where a command stands, is not negated, not
    wondered about and not a report. One refusal anywhere wins over any command.
    """
    commanded: str | None = None
    conditional = False
    for clause in clauses(text):
        spoken = words(clause)
        places = [index for index, word in enumerate(spoken) if stem(word) in verbs]
        if WITHDRAWN.match(clause) or any(_negated(spoken, place) for place in places):
            return Wish(clause=None, refused=True)
        if not any(_commands(clause, spoken, place) for place in places):
            continue
        conditional = conditional or not lexicon.CONDITIONAL.isdisjoint(spoken)
        commanded = commanded or clause
    return Wish(clause=commanded, conditional=conditional)


def commanded_verb(text: str) -> str | None:
    """The first acting verb that `text` commands, whether or not any tool can do it."""
    for clause in clauses(text):
        spoken = words(clause)
        for place, word in enumerate(spoken):
            meant = word in lexicon.ACTING and not _negated(spoken, place)
            if meant and _commands(clause, spoken, place):
                return word
    return None


def _interrogative(clause: str) -> bool:
    spoken = [word for word in words(clause) if word not in {"and", "so", "hi", "hello", "please"}]
    if not spoken:
        return False
    if spoken[0] in MODALS and spoken[1:2] == ["you"]:
        return False
    if spoken[0] == "do":
        return spoken[1:2] != [] and spoken[1] not in {"the", "a", "an", "this", "it", "that"}
    return spoken[0] in lexicon.QUESTION_STARTERS or _ends_asking(clause, spoken)


def _ends_asking(clause: str, spoken: list[str]) -> bool:
    """A question mark makes a question, except after "can you" or "please"."""
    polite = "please" in words(clause) or any(
        spoken[index] in MODALS and spoken[index + 1] == "you" for index in range(len(spoken) - 1)
    )
    return clause.rstrip().endswith("?") and not polite


def _negated(spoken: list[str], place: int) -> bool:
    return not lexicon.NEGATING.isdisjoint(spoken[max(0, place - NEAR) : place])


def _commands(clause: str, spoken: list[str], place: int) -> bool:
    before = spoken[:place]
    if _interrogative(clause) or not lexicon.WONDERING.isdisjoint(before):
        return False
    if spoken[place].endswith(("ed", "ing")):
        return "be" in before[-2:] and not {"should", "must", "needs"}.isdisjoint(before)
    if lexicon.COURTESY.issuperset(before) or before[-1] in {"please", "and", "also"}:
        return True
    return lexicon.REPORTING.isdisjoint(before) and _wished(before)


def _wished(before: list[str]) -> bool:
    if "like" in before and "would" in before:
        return True
    return not (lexicon.WISHING - {"like"}).isdisjoint(before)
