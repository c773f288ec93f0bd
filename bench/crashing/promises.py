"""The only place that judges a ledger after the kills: what was promised, and what is there.

Each promise that is broken is a sentence. Nothing here asks the code that it judges for more than
the bytes: indexes, runs and roots are counted again, and the bundle is judged by its verifier.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from crashing.installing import Installed
from crashing.writing import Attempt, Happened, Outcome

from audit import bundles, checkpoints
from audit.checkpoints import VerifierKey
from audit.guard import Guard
from audit.proofs import Frontier
from tenants import isolation
from tenants.models import Tenant

ROOT = Path(__file__).resolve().parents[2]
LEAVES = "SELECT leaf_hash FROM audit.leaf ORDER BY index"
# Each counts what must not be; as the tenant's role, which sees its own log and nothing else.
COUNTED = {
    "entries still wait to be sealed": "SELECT count(*) FROM audit.pending",
    "entries have no place in the log": """
        SELECT count(*) FROM audit.entry WHERE NOT EXISTS (
            SELECT FROM audit.leaf WHERE leaf.log_id = entry.log_id AND entry_id = entry.id)""",
    "places in the log hold no entry": """
        SELECT count(*) FROM audit.leaf WHERE NOT EXISTS (
            SELECT FROM audit.entry WHERE entry.log_id = leaf.log_id AND id = leaf.entry_id)""",
    "entries have more than one place": """
        SELECT count(*) - count(DISTINCT entry_id) FROM audit.leaf""",
    "indexes are missing": """
        SELECT coalesce(max(index) + 1, 0) - count(DISTINCT index) FROM audit.leaf""",
    "things that happened once are told twice": f"""
        SELECT count(*) - count(DISTINCT payload->>'number') FROM (
            SELECT convert_from(payload, 'UTF8')::json AS payload
            FROM audit.entry WHERE kind = '{Happened.kind}') AS told""",  # noqa: S608  (a constant)
    "places in a run are wrong, or do not name the one before": """
        SELECT count(*) FROM (
            SELECT sequence, previous, row_number() OVER run - 1 AS place,
                lag(leaf_hash) OVER run AS before
            FROM audit.leaf WHERE correlation IS NOT NULL
            WINDOW run AS (PARTITION BY correlation ORDER BY index)
        ) AS told WHERE sequence <> place OR previous IS DISTINCT FROM before""",
    "places do not name the run that their entry names": """
        SELECT count(*) FROM audit.leaf JOIN audit.entry
            ON entry.log_id = leaf.log_id AND entry.id = leaf.entry_id
        WHERE leaf.correlation IS DISTINCT FROM entry.correlation""",
    "entries lost their private parts": f"""
        SELECT count(*) FROM audit.entry WHERE subject IS NOT NULL AND kind = '{Happened.kind}'
            AND NOT EXISTS (
                SELECT FROM audit.body WHERE body.log_id = entry.log_id AND entry_id = entry.id)""",  # noqa: S608
    "halts were called": "SELECT count(*) FROM audit.halt",
}


def judge(
    installation: Installed, state: Path, attempts: Sequence[Attempt]
) -> tuple[dict[str, int], list[str]]:
    """What is there in the end, counted, and the promises that are broken."""
    kept: set[UUID] = set()
    sizes: Counter[str] = Counter()
    broken: list[str] = []
    for tenant in installation.tenants:
        with psycopg.connect(installation.url, autocommit=True) as connection:
            each = Judge(connection, tenant, state)
            broken += [f"{tenant.slug}: {sentence}" for sentence in each.broken(attempts)]
            kept |= each.kept()
            sizes.update(each.sizes())
    return {**_counted(attempts, kept), **sizes}, broken


def _counted(attempts: Sequence[Attempt], kept: set[UUID]) -> dict[str, int]:
    """How many entries were acknowledged, in doubt and withdrawn."""
    counted: Counter[str] = Counter()
    for attempt in attempts:
        found = sum(id_ in kept for id_ in attempt.ids)
        counted[f"{attempt.outcome.value}_found"] += found
        counted[f"{attempt.outcome.value}_not_found"] += len(attempt.ids) - found
    return dict(sorted(counted.items()))


class Judge:
    """Judges one tenant's ledger, which nobody writes to any more, over a connection of its own."""

    def __init__(self, connection: psycopg.Connection, tenant: Tenant, state: Path) -> None:
        self._connection, self._tenant, self._state = connection, tenant, state
        connection.execute("SELECT set_config('role', %s, false)", [tenant.role_name])
        ((self._log, self._origin),) = self._ask("SELECT id, origin FROM audit.log")

    def broken(self, attempts: Sequence[Attempt]) -> Iterator[str]:
        """A sentence for each promise that is broken."""
        own = [attempt for attempt in attempts if attempt.tenant == self._tenant.slug]
        yield from told(own, self.kept())
        for sentence, query in COUNTED.items():
            ((found,),) = self._ask(query)
            if found:
                yield f"{found} {sentence}."
        yield from self._history()
        yield from self._bundle()

    def kept(self) -> set[UUID]:
        """The ids of what the writers wrote and the ledger holds."""
        query = "SELECT id FROM audit.entry WHERE kind = %s"
        return {id_ for (id_,) in self._ask(query, Happened.kind)}

    def sizes(self) -> dict[str, int]:
        """How many entries are sealed, in how many runs, under how many checkpoints."""
        query = """SELECT count(*), count(DISTINCT correlation),
            (SELECT count(*) FROM audit.checkpoint) FROM audit.leaf"""
        ((sealed, runs, signed),) = self._ask(query)
        return {"sealed": sealed, "runs": runs, "checkpoints": signed}

    def _history(self) -> Iterator[str]:
        """Every tree head, checkpoint and note outside must be of one history of these leaves."""
        heads = self._ask("SELECT size, root, 'tree head' FROM audit.tree_head")
        notes = [note for (note,) in self._ask("SELECT note FROM audit.checkpoint ORDER BY size")]
        heads += [(*self._read(note), "checkpoint") for note in notes]
        heads += [(*self._read(path.read_text()), "note outside") for path in self._outside()]
        leaves = [bytes(leaf) for (leaf,) in self._ask(LEAVES)]
        roots = roots_at({size for size, *_ in heads}, leaves)
        for size, root, what in heads:
            if roots.get(size) != bytes(root):
                yield f"The {what} over {size} entries is not of this history."
        last = Guard(self._state / "ledger-guard").last(self._log)
        if not notes or last != checkpoints.read(notes[-1]) or last.size != len(leaves):
            yield f"What was signed last ({last}) is not the checkpoint over all {len(leaves)}."

    def _read(self, note: str) -> tuple[int, bytes]:
        checkpoint = checkpoints.verify(note, self._key())
        return checkpoint.size, checkpoint.root

    def _key(self) -> VerifierKey:
        ((text,),) = self._ask("SELECT DISTINCT verifier_key FROM audit.checkpoint")
        return checkpoints.parse_key(text)

    def _outside(self) -> list[Path]:
        return sorted((self._state / "outside" / self._origin.replace("/", "_")).iterdir())

    def _bundle(self) -> Iterator[str]:
        folder = self._state / "bundles" / self._tenant.slug
        with isolation.acting_for(self._tenant):
            bundles.export(folder, now=datetime.now(UTC))
        pinned = ["--key", str(self._key()), "--since", str(self._outside()[0])]
        command = [sys.executable, "-m", "audit.verify", str(folder), *pinned]
        judged = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if judged.returncode:
            yield f"The bundle is not whole:\n{judged.stdout}{judged.stderr}"

    def _ask(self, query: str, *parameters: object) -> list[Any]:
        return self._connection.execute(query, parameters or None).fetchall()


def told(attempts: Iterable[Attempt], kept: set[UUID]) -> Iterator[str]:
    """What the writers were told, against what is there."""
    unknown = set(kept)
    for attempt in attempts:
        unknown.difference_update(attempt.ids)
        there = sum(id_ in kept for id_ in attempt.ids)
        named = f"{attempt.way}, {len(attempt.ids)} entries from {attempt.ids[:1]}"
        if attempt.outcome is Outcome.ACKNOWLEDGED and there < len(attempt.ids):
            yield f"Acknowledged and lost: {len(attempt.ids) - there} of a commit ({named})."
        elif attempt.outcome is Outcome.WITHDRAWN and there:
            yield f"Rolled back, and there nevertheless: {there} of a transaction ({named})."
        elif there not in {0, len(attempt.ids)}:
            yield f"Half there: {there} of a commit that was in doubt ({named})."
    if unknown:
        yield f"{len(unknown)} entries are there that nobody wrote, as {min(unknown)}."


def roots_at(sizes: set[int], leaves: Sequence[bytes]) -> dict[int, bytes]:
    """The roots of the trees of these sizes, over these leaf hashes."""
    tree, roots = Frontier(), {}
    for leaf in leaves:
        tree.append(leaf)
        if tree.size in sizes:
            roots[tree.size] = tree.root()
    return roots
