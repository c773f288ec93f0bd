"""The only place that answers from text: it chooses sentences and cites them, and adds nothing."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

import msgspec

from gateway.providers.offline import moods
from gateway.providers.offline.transcript import Conversation, Passage
from gateway.providers.offline.words import sentences, stem, stems, words

CITED_THRESHOLD = 0.46
CONTEXT_THRESHOLD = 0.55
CLOSE = 0.88
MAX_QUOTES = 3
MAX_SENTENCES = 4000
SAME = 0.8
RARITY = 1.2
ASIDE_WEIGHT = 0.3
HEADING_WEIGHT = 0.5
PAIR_BONUS = 0.16
EARLY_BONUS = 0.06
HOLDS_FACT = 1.15
LACKS_FACT = 0.75
OFF_TOPIC = 0.6
RANK_BONUS = 0.04
DURATION = re.compile(
    r"\d+[\s-](?:\w+\s)?(?:minute|hour|day|week|month|year)s?|\bwithin\b", re.IGNORECASE
)
AMOUNT = re.compile(r"[€$£%]|\b(?:EUR|USD|GBP|free|percent)\b")
SOMEBODY = re.compile(
    r"\b(?:lead|manager|team|agent|officer|director|supervisor|customer|desk|staff|finance)s?\b",
    re.IGNORECASE,
)

EXPECTED = (
    (re.compile(r"\bhow (?:long|soon|fast|quickly|many days)\b"), DURATION),
    (re.compile(r"\bhow (?:much|expensive)\b|\bcosts?\b|\blimit\b"), AMOUNT),
    (re.compile(r"^who\b"), SOMEBODY),
)
HEAD = re.compile(
    r"\b(?:what|who|which)(?: is|'s| are| was| were) (?:the|your|a|an) (.{1,60}?)"
    r"(?: of | for | in | at | on |[?.,]|$)",
    re.IGNORECASE,
)
NAMED = re.compile(r"(?<=[^\W_] )[^\W\d_a-z][\w-]+")


class Quote(msgspec.Struct, frozen=True):
    """One sentence of a source, unchanged, with how well it fits (0 to about 1.2)."""

    text: str
    source: Passage
    score: float

    @property
    def cited(self) -> str:
        """The sentence with its citation; text that has no reference has none."""
        sentence = self.text if self.text[-1] in ".!?" else f"{self.text}."
        return f"{sentence} [{self.source.ref}]" if self.source.ref else sentence


class _Candidate(msgspec.Struct, frozen=True):
    text: str
    source: Passage
    rank: int
    terms: tuple[str, ...]
    around: frozenset[str]


def quotes(conversation: Conversation) -> list[Quote]:
    """The one to three sentences that answer the request best; [] where none is good enough.

    The score is the idf-weighted share of the question's words that a sentence holds (words of
    its heading count half), with small bonuses for word pairs, for an early match and for the
    search's own order; a sentence without the kind of fact asked for, or off the topic, loses.
    """
    passages = gathered(conversation)
    if passages:
        return _best(conversation.request, passages, CITED_THRESHOLD)
    return _best(conversation.request, _plain(conversation), CONTEXT_THRESHOLD)


def gathered(conversation: Conversation) -> list[Passage]:
    """The passages found for this request, else those found before."""
    for results in (conversation.results, conversation.earlier):
        found = [passage for result in results for passage in result.passages]
        if found:
            return found
    return []


def _plain(conversation: Conversation) -> list[Passage]:
    """Context without references: system and earlier user messages, statements of the request."""
    stated = " ".join(
        clause for clause in moods.clauses(conversation.request) if not moods.asks(clause)
    )
    texts = [*conversation.context, stated]
    return [Passage(ref="", document="", heading="", text=text) for text in texts if text]


def _best(request: str, passages: list[Passage], threshold: float) -> list[Quote]:
    candidates = _candidates(passages)
    weights = _weights(request, candidates)
    if not weights:
        return []
    scored = [
        Quote(one.text, one.source, _score(one, weights, request, len(passages)))
        for one in candidates
    ]
    scored.sort(key=lambda quote: -quote.score)
    if not scored or scored[0].score < threshold:
        return []
    floor = max(threshold, scored[0].score * CLOSE)
    return _distinct([quote for quote in scored if quote.score >= floor])


def _candidates(passages: list[Passage]) -> list[_Candidate]:
    found = []
    for rank, passage in enumerate(passages):
        around = frozenset(stems(passage.heading))
        for sentence in sentences(passage.text):
            terms = tuple(stems(sentence))
            if len(terms) > 1 and sentence != passage.heading:
                found.append(_Candidate(sentence, passage, rank, terms, around))
    return found[:MAX_SENTENCES]


def _weights(request: str, candidates: list[_Candidate]) -> dict[str, float]:
    """The question's stems, weighted by rarity among the sentences; what surrounds it counts less.

    A word that no sentence holds weighs most, except a number: answers have other numbers.
    """
    held = Counter(term for one in candidates for term in set(one.terms) | one.around)
    size = len(candidates)
    asked = [clause for clause in moods.clauses(request) if moods.asks(clause)]
    focus = set(stems(" ".join(asked))) or set(stems(request))
    focus |= {stem(word.lower()) for word in NAMED.findall(request) if held[stem(word.lower())]}
    aside = {term for term in stems(request) if term not in focus or term.isdigit()}
    return {
        term: _idf(size, held[term]) ** RARITY * (ASIDE_WEIGHT if term in aside else 1.0)
        for term in dict.fromkeys(stems(request))
    }


def _idf(size: int, holding: int) -> float:
    return math.log(1 + (size - min(holding, size) + 0.5) / (holding + 0.5))


def _score(one: _Candidate, weights: dict[str, float], request: str, sources: int) -> float:
    own = set(one.terms)
    gained = sum(weight for term, weight in weights.items() if term in own)
    near = sum(weight for term, weight in weights.items() if term in one.around - own)
    total = sum(weights.values())
    share = (gained + HEADING_WEIGHT * near) / total if total else 0.0
    if not gained:
        return 0.0
    pairs = set(pairwise(one.terms))
    shared = sum(pair in pairs for pair in pairwise(list(weights)))
    first = next(index for index, term in enumerate(one.terms) if term in weights)
    bonus = min(2, shared) * PAIR_BONUS + EARLY_BONUS / (1 + first)
    fitting = _expected(request, one.text) * _on_topic(request, own | one.around)
    return share * fitting * (1 + bonus + RANK_BONUS * (1 - one.rank / sources))


def _expected(request: str, sentence: str) -> float:
    """Whether a sentence holds the kind of fact that is asked for: a time, a sum, somebody."""
    spoken = " ".join(words(request))
    for asking, fact in EXPECTED:
        if asking.search(spoken):
            return HOLDS_FACT if fact.search(sentence) else LACKS_FACT
    return 1.0


def _on_topic(request: str, terms: set[str] | frozenset[str]) -> float:
    """ "What are the opening hours of the store" is about opening hours, whatever else matches."""
    head = HEAD.search(request)
    asked = set(stems(head[1])) if head else set()
    return OFF_TOPIC if asked and asked.isdisjoint(terms) else 1.0


def _distinct(ranked: list[Quote]) -> list[Quote]:
    chosen: list[Quote] = []
    for quote in ranked:
        if not any(_alike(quote.text, other.text) for other in chosen):
            chosen.append(quote)
        if len(chosen) == MAX_QUOTES:
            break
    return chosen


def _alike(one: str, other: str) -> bool:
    first, second = set(stems(one)), set(stems(other))
    return len(first & second) >= SAME * min(len(first), len(second))
