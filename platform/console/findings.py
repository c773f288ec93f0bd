"""The only place that judges the story of one decision: what is checked now, and whether it holds.

It says in the page what `audit.verify` says of a whole bundle. It is no evidence, since we run it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from audit import commitments, proofs
from audit.queries import Inclusion
from audit.verify import layout
from console.stories import BEGUN, DECIDED, VOTES, Parts, Story

if TYPE_CHECKING:
    from audit.models import Entry


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was checked, in a word and a sentence."""

    title: str
    holds: bool
    sentence: str


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with its leaf's hash ("" while it has none), and whether its proof holds; None while
    there is none.
    """

    entry: Entry
    leaf_hash: str
    holds: bool | None


def proven(entries: Sequence[Entry], found: Sequence[Inclusion], origin: str) -> list[Proven]:
    """Each entry with the verdict on its proof of inclusion, which is computed anew."""
    by_index = {each.index: each for each in found}
    return [_proven(entry, by_index, origin) for entry in entries]


def _proven(entry: Entry, by_index: dict[int, Inclusion], origin: str) -> Proven:
    if entry.index is None:  # what is not sealed has no leaf yet
        return Proven(entry=entry, leaf_hash="", holds=None)
    leaf = proofs.leaf_hash(entry.leaf_bytes(origin))
    found = by_index.get(entry.index)
    return Proven(entry=entry, leaf_hash=leaf.hex(), holds=_holds(leaf, found) if found else None)


def _holds(leaf: bytes, found: Inclusion) -> bool:
    root = bytes.fromhex(layout.root_in(found.checkpoint.note))
    return proofs.verify_inclusion(leaf, found.index, found.checkpoint.size, found.path, root)


def judge(story: Story, parts: Parts, proofs_of: Sequence[Proven]) -> list[Finding]:
    """What is checked of a story; what can't be (nothing began, nobody voted) is left out."""
    found = [_sealed(proofs_of), _words(story, parts)]
    if story.of(BEGUN):
        found += [_decided_before(story), _same(story)]
    if story.of(*VOTES):
        found += _of_votes(story)
    return found


def _sealed(found: Sequence[Proven]) -> Finding:
    broken = [each for each in found if each.holds is False]
    missing = sum(each.holds is None for each in found)
    if broken:
        names = ", ".join(str(each.entry.index) for each in broken)
        said = f"These entries are not what was sealed: {names}."
    elif missing:
        said = f"{missing} of {len(found)} entries are not under a checkpoint yet."
    else:
        said = f"Each of the {len(found)} entries is in the tree under the newest checkpoint."
    return Finding(title="Sealed", holds=not broken, sentence=said)


def _words(story: Story, parts: Parts) -> Finding:
    wrong = [
        name
        for entry in story.entries
        for name, part in parts.get(entry.pk, {}).items()
        if "value" in part
        and commitments.commit(part["value"], bytes.fromhex(part["salt"])) != entry.event[name]
    ]
    said = "The words on this page are those whose commitments were sealed."
    if wrong:
        said = f"These are not the words that were recorded: {', '.join(wrong)}."
    return Finding(title="Words", holds=not wrong, sentence=said)


def _decided_before(story: Story) -> Finding:
    allowed = [each for each in story.of(DECIDED) if each.event["outcome"] == "allowed"]
    places = {str(each.pk): _place(each) for each in allowed}
    late = [
        each
        for each in story.of(BEGUN)
        if places.get(each.event["decision"], _place(each)) >= _place(each)
    ]
    said = "An effect began without a decision before it that allowed it."
    return Finding(
        title="Decided first",
        holds=not late,
        sentence=said if late else "Whatever began was allowed by a decision before it.",
    )


def _same(story: Story) -> Finding:
    other = [
        each for each in story.entries if each.event.get("intent", story.intent) != story.intent
    ]
    return Finding(
        title="Same act",
        holds=not other,
        sentence="Something else was carried out than what was decided."
        if other
        else "What was carried out is exactly what was decided, arguments included.",
    )


def _of_votes(story: Story) -> Iterator[Finding]:
    votes, opened = story.of(*VOTES), story.opened
    shown = opened.event["shown"] if opened else None
    same = all(vote.event["shown"] == shown for vote in votes)
    yield Finding(
        title="Shown",
        holds=same,
        sentence="The reviewer voted on what is shown here."
        if same
        else "The reviewer voted on something else than what the entry of the approval commits to.",
    )
    asked = {opened.event["requester"]["id"], opened.on_behalf_of} if opened else set()
    apart = not any(vote.actor_id in asked for vote in votes)
    yield Finding(
        title="Two people",
        holds=apart,
        sentence="Whoever voted is not who asked." if apart else "Whoever asked voted as well.",
    )
    begun = [_place(each) for each in story.of(BEGUN)]
    early = all(_place(vote) < min(begun) for vote in votes) if begun else True
    yield Finding(
        title="Voted first",
        holds=early,
        sentence="Every vote came before the act." if early else "A vote came after the act.",
    )


def _place(entry: Entry) -> tuple[bool, int, object]:
    """Where an entry stands: by its index; what is not sealed yet comes after what is."""
    index = entry.index
    return (index is None, index or 0, entry.recorded_at)
