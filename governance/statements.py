"""The only place that reads policy text itself: its statements, their bounds and their lines.

Cedar's parser says what is wrong but not where, and it overflows the stack, and so ends the
process, on deeply nested text. Both are answered here, before and after Cedar sees the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable

import msgspec

MAX_DEPTH = 32  # of brackets; the parser dies at a few hundred on an 8 MB stack
MAX_OPERATORS = 500  # in one statement; each may be a level of the tree that Cedar walks

# The string's quantifier is possessive, and its end optional: an unclosed one costs linear time.
_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)|"(?:\\.|[^"\\])*+"?|[A-Za-z_]\w*|\d+"""
    r"""|::|&&|\|\||[=!<>]=|.""",
    re.DOTALL,
)
_OPERATORS = frozenset(
    {"&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "!", ".", "["}
    | {"if", "has", "like", "in", "is", "when", "unless"}
)


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a policy text; `line` and `column` count from 1."""

    line: int
    column: int | None
    policy: str | None
    message: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One policy of a text: `text[start:end]`, with the (start, end) of each of its tokens."""

    text: str
    tokens: list[tuple[int, int]]

    @property
    def start(self) -> int:
        return self.tokens[0][0]

    @property
    def source(self) -> str:
        return self.text[self.start : self.tokens[-1][1]]

    def words(self) -> list[str]:
        return [self.text[start:end] for start, end in self.tokens]

    def flaw(self, message: str, *, at: int | None = None, policy: str | None = None) -> Flaw:
        """A flaw at offset `at` of the text, or at the statement's first line as a whole."""
        where = self.start if at is None else at
        column = None if at is None else where - self.text.rfind("\n", 0, where)
        line = self.text.count("\n", 0, where) + 1
        return Flaw(line=line, column=column, policy=policy, message=message)


def split(text: str) -> list[Statement]:
    """The statements of `text`, in order. The last one may lack its semicolon."""
    statements, tokens = [], []
    for match in _TOKEN.finditer(text):
        if match["blank"] is not None:
            continue
        tokens.append(match.span())
        if match[0] == ";":
            statements.append(Statement(text=text, tokens=tokens))
            tokens = []
    if tokens:
        statements.append(Statement(text=text, tokens=tokens))
    return statements


def out_of_bounds(statement: Statement) -> Flaw | None:
    """The flaw of a statement that is nested too deeply, or too long, to be given to Cedar."""
    depth = operators = 0
    for start, end in statement.tokens:
        word = statement.text[start:end]
        depth += (word in "([{") - (word in ")]}")
        operators += word in _OPERATORS
        if depth > MAX_DEPTH:
            return statement.flaw(f"nested deeper than {MAX_DEPTH} brackets", at=start)
        if operators > MAX_OPERATORS:
            return statement.flaw(f"more than {MAX_OPERATORS} operators in one policy", at=start)
    return None


def first_unexpected(statement: Statement, token: str, breaks: Callable[[str], bool]) -> int:
    """The offset of the first token that can't stand where it does; `token` is what Cedar calls it.

    `breaks(prefix)` says whether the parser refuses a beginning for more than being unfinished.
    1. It does so from some token on, so we bisect. 2. It may have tried to recover before it
    gave up, so we go back to the nearest token of that name.
    """
    tokens = statement.tokens

    def refused(count: int) -> bool:
        return breaks(statement.text[statement.start : tokens[count][1]])

    found = bisect_left(range(len(tokens) - 1), True, key=refused)  # noqa: FBT003
    named = (
        start for start, end in reversed(tokens[: found + 1]) if statement.text[start:end] == token
    )
    return next(named, tokens[found][0])


def annotation(statement: Statement, name: str) -> int | None:
    """The offset of the annotation `@name`, where the statement has it."""
    words = statement.words()
    places = zip(statement.tokens, words, words[1:], strict=False)
    return next((start for (start, _), *word in places if word == ["@", name]), None)


def only_occurrence(statement: Statement, name: str) -> int | None:
    """The offset of the token `name`, where the statement has exactly one."""
    quoted = f'"{name}"'
    hits = [span[0] for span in statement.tokens if statement.text[slice(*span)] in (name, quoted)]
    return hits[0] if len(hits) == 1 else None
