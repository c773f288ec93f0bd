"""Entries for a spreadsheet: every row says that it is not the evidence; no cell is a formula."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from forging import rich
from hypothesis import given
from hypothesis import strategies as st

from audit import spreadsheets
from audit.proofs import leaf_hash

LINES = rich().lines()
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _rows(lines: list[bytes]) -> list[dict[str, str]]:
    """As a reader of RFC 4180 sees them."""
    written = [spreadsheets.row_of(index, line) for index, line in enumerate(lines)]
    text = (spreadsheets.header() + b"".join(written)).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def _with(**changed: Any) -> bytes:
    entry = json.loads(LINES[0])
    entry["actor"] |= changed
    return json.dumps(entry).encode()


def test_a_spreadsheet_shows_what_the_entries_hold() -> None:
    rows = _rows(LINES)
    assert len(rows) == len(LINES)
    for index, (row, line) in enumerate(zip(rows, LINES, strict=True)):
        entry = json.loads(line)
        assert row["index"] == str(index)
        assert row["leaf_hash"] == leaf_hash(line).hex()
        assert json.loads(row["event"]) == entry["event"]
        for name in ("id", "kind", "recorded_at", "occurred_at", "correlation", "subject"):
            assert row[name] == (entry[name] or "")
        assert row["sequence"] == ("" if entry["sequence"] is None else str(entry["sequence"]))
        assert row["actor_id"] == entry["actor"]["id"]


def test_every_row_says_that_it_is_not_the_evidence() -> None:
    rows = _rows(LINES[:2])
    assert next(iter(rows[0])) == "not_the_evidence"
    assert [row["not_the_evidence"] for row in rows] == [
        "the evidence is the entry 0 in entries.jsonl",
        "the evidence is the entry 1 in entries.jsonl",
    ]


def test_a_spreadsheet_is_read_as_utf_8_and_in_lines_of_rfc_4180() -> None:
    assert spreadsheets.header().startswith(b'\xef\xbb\xbf"not_the_evidence","index",')
    assert spreadsheets.header().endswith(b'"event"\r\n')
    (row,) = _rows([_with(id='Grüße, "Ada"')])
    assert row["actor_id"] == 'Grüße, "Ada"'


@pytest.mark.parametrize("first", [*FORMULAS, " =", "  @"])
def test_a_cell_that_would_be_a_formula_is_text(first: str) -> None:
    (row,) = _rows([_with(id=f'{first}HYPERLINK("https://evil.test";"Open")')])
    assert row["actor_id"].startswith(f"'{first}")


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_starts_a_formula_or_breaks_out_of_its_cell(one: str, other: str) -> None:
    (row,) = _rows([_with(id=one, version=other)])
    for name, text in (("actor_id", one), ("actor_version", other)):
        assert not row[name].lstrip(" ").startswith(FORMULAS)
        assert row[name].removeprefix("'") == text.removeprefix("'")
    assert row["kind"] == json.loads(LINES[0])["kind"]


def test_what_is_too_long_for_a_cell_is_left_to_the_evidence() -> None:
    entry = json.loads(LINES[0]) | {"event": {"note": "x" * spreadsheets.MOST_CHARACTERS}}
    (row,) = _rows([json.dumps(entry).encode()])
    assert row["event"] == "(32778 characters are too long for a cell)"
