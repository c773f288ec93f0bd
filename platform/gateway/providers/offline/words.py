"""The only place for cutting text into words, stems and sentences."""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.providers.offline import lexicon

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
PIECE = re.compile(r"[^\W\d_]+|\d+")
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"'\u201d\u2019)]*\s+(?=[\"'\u201c\u2018(]*[A-Z0-9\[])")
ABBREVIATED = re.compile(r"\b(?:e\.g|i\.e|etc|approx|No|no|vs|Mr|Mrs|Ms|Dr|cf|ca)\.$")
BULLET = re.compile(r"^\s*(?:[-*+•\u2013]|\d{1,2}[.)])\s+")
MARKUP = re.compile(r"\*\*|__|`|^\s*#{1,6}\s+|^\s*>\s?", re.MULTILINE)
SUFFIXES = ("ations", "ation", "ments", "ment", "ings", "ing", "ables", "able", "ies", "ed")
ENDINGS = (*SUFFIXES, "als", "al", "es", "ly", "s", "y", "e")
SHORTEST_STEM = 3
SHORT_LINE = 50


def words(text: str) -> list[str]:
    """The lower-case words of `text` in order; "don't" becomes "do", "not"."""
    found: list[str] = []
    for match in WORD.finditer(text.lower().replace("\u2019", "'")):
        found.extend(_uncontracted(match.group()))
    return found


def _uncontracted(word: str) -> list[str]:
    if word in {"can't", "cant"}:
        return ["can", "not"]
    if word.endswith("n't"):
        return [word[:-3] or "wo", "not"]
    if word in {"dont", "doesnt"}:
        return [word[:-2], "not"]
    head, mark, tail = word.partition("'")
    if not mark:
        return [word]
    return [head, "would"] if tail == "d" else [head]


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A light stem: refund, refunds, refunded, refundable share one; no dictionary is used."""
    word = lexicon.EQUIVALENTS.get(word, word)
    if word.isdigit() or len(word) <= SHORTEST_STEM:
        return word
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            return _undoubled(word.removesuffix(ending))
    return word


def _undoubled(root: str) -> str:
    if len(root) > SHORTEST_STEM and root[-1] == root[-2] and root[-1] not in "aeioulsz":
        return root[:-1]
    return root.removesuffix("e") if len(root) > SHORTEST_STEM else root


def stems(text: str) -> list[str]:
    """The stems of the words of `text` that carry meaning, in order."""
    return [stem(word) for word in words(text) if word not in lexicon.STOPWORDS]


def pieces(identifier: str) -> list[str]:
    """`lookUp_order-id` as its words: look, up, order, id."""
    return [piece.lower() for piece in PIECE.findall(HUMP.sub(" ", identifier))]


def sentences(text: str) -> list[str]:
    """The sentences of a passage: wrapped lines are joined, bullets and headings stand alone."""
    found: list[str] = []
    for block in _blocks(text):
        start = 0
        for match in SENTENCE_END.finditer(block):
            if not ABBREVIATED.search(block, max(0, match.start() - 8), match.start()):
                found.append(block[start : match.end()].strip())
                start = match.end()
        found.append(block[start:].strip())
    return [sentence for sentence in found if sentence]


def _blocks(text: str) -> list[str]:
    """Join the lines that a page's width broke, and nothing else."""
    blocks: list[list[str]] = [[]]
    for raw in text.splitlines():
        line = _row(raw) if raw.lstrip().startswith("|") else _unmarked(raw)
        if not line or raw.lstrip().startswith("#"):
            blocks.append([])
            if not line:
                continue
        elif BULLET.match(raw) or (blocks[-1] and _closes(blocks[-1][-1], line)):
            blocks.append([])
        blocks[-1].append(line)
        if raw.lstrip().startswith("#"):
            blocks.append([])
    return [" ".join(block) for block in blocks if block]


def _unmarked(raw: str) -> str:
    return MARKUP.sub("", BULLET.sub("", raw)).strip()


def _row(raw: str) -> str:
    """A table's row as "cell: cell."; the line under its head is nothing."""
    cells = [MARKUP.sub("", cell).strip() for cell in raw.strip().strip("|").split("|")]
    return f"{': '.join(cells)}." if any(cell.strip("-: ") for cell in cells) else ""


def _closes(line: str, following: str) -> bool:
    """Whether `line` ends a block: by its full stop, or as a heading is short and unpunctuated."""
    if line.endswith(":"):
        return True
    return len(line) < SHORT_LINE and line[-1] not in ".,;!?-" and following[:1].isupper()
