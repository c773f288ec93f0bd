"""The only place that writes entries for a spreadsheet: CSV (RFC 4180) that starts no formula.

A cell that a spreadsheet could take for a formula begins with an apostrophe (OWASP, CSV Injection),
so a cell is not always what the entry holds. Each row says that it is not the evidence, and which
line is, in a column of its own: a line above the header would end a spreadsheet's filters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from audit.proofs import leaf_hash

COLUMNS = ("not_the_evidence", "index", "id", "recorded_at", "occurred_at", "kind", "actor_kind",
           "actor_id", "actor_version", "actor_means", "on_behalf_of", "correlation", "sequence",
           "subject", "leaf_hash", "event")  # fmt: skip
# Also what a spreadsheet in Japanese or Chinese takes for these; white space before them is skipped
# by some.
STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d",
                    "\uff20")  # fmt: skip
# What a cell of Excel holds: it would break up what is longer.
MOST_CHARACTERS = 32_767
BYTE_ORDER_MARK = "\ufeff"
"""Without it Excel reads UTF-8 as something else. It is part of the first name, which says so."""


def header() -> bytes:
    """The first line: the columns' names."""
    return (BYTE_ORDER_MARK + _row(COLUMNS)).encode()


def row_of(index: int, line: bytes) -> bytes:
    """The row of the entry at `index`, whose leaf's bytes `line` is."""
    entry = orjson.loads(line)
    who = entry["actor"]
    cells = (
        f"the evidence is the entry {index} in entries.jsonl",
        index,
        entry["id"],
        entry["recorded_at"],
        entry["occurred_at"],
        entry["kind"],
        who["kind"],
        who["id"],
        who["version"],
        who["means"],
        who["on_behalf_of"],
        entry["correlation"],
        entry["sequence"],
        entry["subject"],
        leaf_hash(line).hex(),
        orjson.dumps(entry["event"]).decode(),
    )
    return _row(cells).encode()


def _row(cells: Iterable[Any]) -> str:
    return ",".join(map(_cell, cells)) + "\r\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if len(text) > MOST_CHARACTERS:
        text = f"({len(text)} characters are too long for a cell)"
    if text.lstrip(" ").startswith(STARTS_A_FORMULA):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"'
