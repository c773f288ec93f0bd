"""The only place that reads published entries in the order of the log, as streams send them.

As far as the newest checkpoint reaches: whoever receives an entry can be shown at once that it is
in the log, and no index is ever given to another entry afterwards.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from django.db import connection

from audit import queries
from audit.entries import ROW, SEALED, fields_of, leaf_of_row
from audit.errors import Problem
from audit.models import Checkpoint

# From the leaves, as a bundle reads them.
ENTRIES = f"""
SELECT leaf.index, leaf.leaf_hash, {ROW}
FROM {SEALED}
WHERE leaf.log_id = %s AND leaf.index >= %s AND leaf.index < %s
ORDER BY leaf.index
"""  # noqa: S608  (a constant of column names)


class EntriesMissing(Problem):
    """The ledger has no whole row of entries from index {first} up to {end}."""

    code = "entries_missing"
    status = 500


class Published(msgspec.Struct, frozen=True):
    """An entry under a checkpoint: `leaf` are the bytes whose hash is in the tree."""

    index: int
    kind: str
    recorded_at: datetime
    leaf: bytes
    leaf_hash: bytes

    def as_json(self) -> bytes:
        """The entry as a receiver gets it: canonical JSON, in which `entry` is the leaf's bytes."""
        rest = b',"index":%d,"leaf_hash":"%s"}' % (self.index, self.leaf_hash.hex().encode())
        return b'{"entry":' + self.leaf + rest


def size() -> int:
    """How many entries the acting tenant's newest checkpoint covers. Raises roles.NoLedger."""
    sizes = Checkpoint.objects.filter(log=queries.own_log()).order_by("-size")
    return sizes.values_list("size", flat=True).first() or 0


def entries(first: int, end: int) -> list[Published]:
    """The entries from index `first` up to and without `end`, which a checkpoint covers.

    Raises EntriesMissing, roles.NoLedger.
    """
    with connection.cursor() as cursor:
        cursor.execute(ENTRIES, [queries.own_log().pk, first, end])
        found = [_published(*row) for row in cursor.fetchall()]
    if [each.index for each in found] != list(range(first, end)):
        raise EntriesMissing(first=first, end=end)
    return found


def _published(index: int, leaf_hash: Any, *row: Any) -> Published:
    entry = fields_of(row)
    leaf = leaf_of_row(row)
    return Published(index, entry["kind"], entry["recorded_at"], leaf, bytes(leaf_hash))
