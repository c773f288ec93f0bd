"""The only place that compares what rows say with what entries say, in the acting tenant.

A row that nobody recorded, or an entry whose row is gone or another, is what is left by a hand in
the database. PostgreSQL compares both sides as sets of keys, within one snapshot, in which a row
and its entry stand or fall together: so nothing under way differs, and memory stays bounded here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from django.db import connection
from django.db.models import Expression, QuerySet, TextField, Value
from django.db.models.functions import Cast, Coalesce, Concat
from psycopg import Connection

from audit import queries, roles

MOST_NAMED = 20
"""How many keys of a side are named at most; all are counted."""

# An event that PostgreSQL can't take apart (a zero character) has no key, and is left out: none of
# ours holds one.
TOLD = r"""
SELECT entry.id, entry.kind, entry.recorded_at, entry.correlation,
    CASE WHEN event.text LIKE '%%\\u0000%%' THEN '{{}}' ELSE event.text END::json AS said
FROM audit.entry
CROSS JOIN LATERAL (SELECT convert_from(entry.payload, 'UTF8') AS text) AS event
WHERE entry.log_id = %(log)s AND entry.kind = ANY(%(kinds)s::text[])
"""
# What the newest entry about a thing says of it, unless that ended it, or what it was part of
# ended later.
ENTRIES = f"""
SELECT key || says AS key FROM (
    SELECT DISTINCT ON (key) key, says, kind, recorded_at, part FROM (
        SELECT told.*, {{key}} AS key, {{says}} AS says, {{part}} AS part,
            {{only}} AS counts FROM ({TOLD}) AS told
    ) AS named
    WHERE key IS NOT NULL AND counts AND kind <> ALL(%(parts_end)s::text[])
    ORDER BY key, recorded_at DESC, id DESC
) AS newest
WHERE kind = ANY(%(begin)s::text[]) AND NOT EXISTS (
    SELECT FROM ({TOLD}) AS told
    WHERE told.kind = ANY(%(parts_end)s::text[]) AND {{part}} = newest.part
      AND told.recorded_at > newest.recorded_at
)
"""  # noqa: S608  (constants)
COMPARED = """
WITH there AS MATERIALIZED (SELECT DISTINCT key::text FROM ({rows}) AS rows (key)),
told AS MATERIALIZED (SELECT DISTINCT key FROM ({entries}) AS entries),
differing AS MATERIALIZED (
    SELECT there.key AS row, told.key AS entry FROM there FULL JOIN told ON there.key = told.key
    WHERE there.key IS NULL OR told.key IS NULL
)
SELECT (SELECT count(*) FROM there), (SELECT count(*) FROM told),
    (SELECT count(row) FROM differing), (SELECT count(entry) FROM differing),
    ARRAY(SELECT row FROM differing WHERE row IS NOT NULL ORDER BY row LIMIT %(most)s),
    ARRAY(SELECT entry FROM differing WHERE entry IS NOT NULL ORDER BY entry LIMIT %(most)s)
"""
# Canonical JSON, and the tenant's own words: so it is found by the bytes.
DIFFERING = """
SELECT EXISTS (
    SELECT FROM audit.log CROSS JOIN LATERAL (
        SELECT payload FROM audit.entry
        WHERE entry.log_id = log.id AND entry.kind = 'ledger.reconciled'
        ORDER BY entry.id DESC LIMIT 1
    ) AS newest
    WHERE position('"differing":0'::bytea IN newest.payload) = 0
)
"""

Rows = Callable[[], QuerySet[Any, Any] | Iterable[str]]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and the entries that tell of them, each with a key: the same keys must be on both sides.

    `rows` are a query of one column, the key, or a few keys. `begin` are the kinds that a row is
    told by, `end` those after which it is gone. An entry's key is made of the fields `by` of its
    event, or of "correlation", and of what the event `says` in other fields, each after a blank.
    With `part_of`, a field and a kind, what is a part of what ended is gone as well. With `only`,
    an entry counts only where it has this field. Where not `both_ways`, an entry may have no row:
    only a row without an entry is a difference.
    """

    name: str
    rows: Rows
    begin: tuple[str, ...]
    by: tuple[str, ...]
    says: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    part_of: tuple[str, str] | None = None
    only: str | None = None
    both_ways: bool = True


class Compared(msgspec.Struct, frozen=True):
    """How many keys each side has, how many of them alone, and the first of these."""

    name: str
    rows: int
    entries: int
    only_rows: int
    only_entries: int
    row_keys: list[str]
    entry_keys: list[str]

    @property
    def differing(self) -> int:
        """How many keys are on one side only."""
        return self.only_rows + self.only_entries


def key(*columns: str | Expression) -> Expression:
    """A row's key: the columns as text, with a blank between each two."""
    texts: list[Expression] = []
    for column in columns:
        texts += [Value(" ")] if texts else []
        # Nothing is a key of its own, which no entry has.
        text = Cast(column, TextField())
        texts.append(Coalesce(text, Value(""), output_field=TextField()))
    return Concat(*texts, output_field=TextField()) if len(texts) > 1 else texts[0]


def compare(pair: Pair) -> Compared:
    """Compare both sides of `pair` in the acting tenant. Raises roles.NoLedger."""
    rows, rows_parameters = _sql(pair.rows())
    parts_end = [pair.part_of[1]] if pair.part_of else []
    entries = ENTRIES.format(
        key=_joined(pair.by, first=True),
        says=_joined(pair.says),
        part=_field(pair.part_of[0]) if pair.part_of else "NULL",
        only=f"{_field(pair.only)} IS NOT NULL" if pair.only else "true",
    )
    parameters = {
        **rows_parameters,
        "log": queries.own_log().pk,
        "kinds": [*pair.begin, *pair.end, *parts_end],
        "begin": list(pair.begin),
        "parts_end": parts_end,
        "most": MOST_NAMED,
    }
    with connection.cursor() as cursor:
        cursor.execute(COMPARED.format(rows=rows, entries=entries), parameters)
        there, told, only_there, only_told, row_keys, entry_keys = cursor.fetchone()
    if not pair.both_ways:
        only_told, entry_keys = 0, []
    return Compared(pair.name, there, told, only_there, only_told, row_keys, entry_keys)


def differs(raw: Connection) -> bool:
    """Whether the newest reconciliation of any log found a difference. `raw` is a login role's."""
    role = roles.sequencer_of(raw.info.dbname)
    with raw.transaction(), raw.cursor() as cursor, roles.acting_as(cursor, role):
        return cursor.execute(DIFFERING).fetchone() == (True,)


def _sql(rows: QuerySet[Any, Any] | Iterable[str]) -> tuple[str, dict[str, Any]]:
    """The rows as a query whose parameters have names."""
    if not isinstance(rows, QuerySet):
        return "SELECT unnest(%(keys)s::text[])", {"keys": list(rows)}
    text, given = rows.order_by().query.sql_with_params()
    named = {f"row_{number}": value for number, value in enumerate(given)}
    names = iter(named)
    return re.sub("%s", lambda _: f"%({next(names)})s", text), named


def _joined(fields: tuple[str, ...], *, first: bool = False) -> str:
    """The fields with a blank before each, but for the first. What has not got one has no key."""
    parts = [_field(name) for name in fields]
    if first:
        return " || ' ' || ".join(parts)
    return " || ".join(f"' ' || {part}" for part in parts) or "''"


def _field(name: str) -> str:
    return "told.correlation::text" if name == "correlation" else f"(told.said ->> '{name}')"
