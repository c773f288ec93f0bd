"""The only place that tests the ledger under acts in any order, crashes included."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from own_logs import NoteTaken, OwnLog, ask, direct, record_all

from audit import checkpoints, proofs, sequencer
from audit.entries import draft
from audit.events import SYSTEM
from audit.guard import Guard

RUNS = [None, UUID(int=1), UUID(int=2)]
COUNTS = st.integers(1, 300)
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n] * 32)) for n in range(1, 4)]

PLACED = "SELECT entry_id, correlation, sequence, previous, leaf_hash FROM audit.leaf"
SEALED = "SELECT entry_id, leaf_hash FROM audit.leaf ORDER BY index"
INDEXES = "SELECT min(index), max(index), count(*) FROM audit.leaf"
WAITING = "SELECT entry_id FROM audit.pending"
HEADS = "SELECT size, root FROM audit.tree_head ORDER BY size"
NOTES = "SELECT size, note, verifier_key FROM audit.checkpoint ORDER BY size"


class Acts(RuleBasedStateMachine):
    """One writer, two sequencers with a folder each, and anybody may be killed at any act."""

    raw: psycopg.Connection
    log: OwnLog

    def __init__(self) -> None:
        super().__init__()
        self.kept: set[UUID] = set()
        self.key = KEYS[0]
        self.seen: dict[int, bytes] = {}  # the roots that somebody was shown under a signature
        self._held = contextlib.ExitStack()

    @initialize()
    def begin(self) -> None:
        folder = self._held.enter_context(tempfile.TemporaryDirectory())
        self.guards = [Guard(Path(folder) / str(number)) for number in range(2)]
        self._held.enter_context(self.raw.transaction(force_rollback=True))

    def teardown(self) -> None:
        self._held.close()

    @contextlib.contextmanager
    def _killed(self, *, is_killed: bool) -> Iterator[None]:
        """The database forgets what was not committed."""
        with self.raw.transaction(force_rollback=is_killed):
            yield

    @rule(count=COUNTS, first=st.integers(0, 2), is_killed=st.booleans())
    def record(self, count: int, first: int, is_killed: bool) -> None:
        drafts = [
            draft(NoteTaken(note="n"), actor=SYSTEM, correlation=RUNS[(first + n) % 3])
            for n in range(count)
        ]
        with self._killed(is_killed=is_killed):
            record_all(self.raw, self.log, drafts)
        if not is_killed:
            self.kept |= {made.id for made in drafts}

    @rule(limit=COUNTS, is_killed=st.booleans())
    def seal(self, limit: int, is_killed: bool) -> None:
        with self._killed(is_killed=is_killed):
            sequencer.seal(self.raw, self.log.id, limit=limit)

    @rule(which=st.integers(0, 1), is_killed=st.booleans())
    def publish(self, which: int, is_killed: bool) -> None:
        guard = self.guards[which]
        assert not sequencer.is_halted(self.raw, self.log.id, guard)
        with self._killed(is_killed=is_killed):
            sequencer.publish(self.raw, self.log.id, self.key, guard=guard)

    @rule(key=st.sampled_from(KEYS))
    def rotate_the_key(self, key: Ed25519PrivateKey) -> None:
        self.key = key

    @rule(which=st.integers(0, 1))
    def start_a_sequencer_afresh(self, which: int) -> None:
        self.guards[which] = Guard(self.guards[which]._folder)

    @invariant()
    def nothing_kept_is_lost_or_doubled(self) -> None:
        sealed = [id_ for id_, _ in ask(self.raw, self.log, SEALED)]
        waiting = [id_ for (id_,) in ask(self.raw, self.log, WAITING)]
        assert sorted(sealed + waiting) == sorted(self.kept)

    @invariant()
    def there_is_no_gap(self) -> None:
        ((least, most, count),) = ask(self.raw, self.log, INDEXES)
        assert (least or 0, (most or 0) + 1 if count else 0) == (0, count)
        runs: dict[UUID, dict[int, tuple[bytes | None, bytes]]] = {}
        for _, run, sequence, *hashes in ask(self.raw, self.log, PLACED):
            if run is not None:
                runs.setdefault(run, {})[sequence] = tuple(hashes)
        for run in runs.values():
            assert run.keys() == set(range(len(run)))
            assert all(run[n][0] == run[n - 1][1] for n in range(1, len(run)))

    @invariant()
    def every_head_is_of_its_leaves_and_what_was_signed_stays(self) -> None:
        tree, leaves = proofs.Frontier(), [made for _, made in ask(self.raw, self.log, SEALED)]
        roots = {}
        for size, root in ask(self.raw, self.log, HEADS):
            for leaf in leaves[tree.size : size]:
                tree.append(leaf)
            assert tree.root() == root
            roots[size] = root
        for size, note, key in ask(self.raw, self.log, NOTES):
            assert checkpoints.verify(note, checkpoints.parse_key(key)).root == roots[size]
            self.seen[size] = roots[size]
        for guard in getattr(self, "guards", []):
            last = guard.last(self.log.id)
            if last is not None:
                self.seen[last.size] = last.root
        assert self.seen.items() <= roots.items()


@pytest.fixture
def machine(committed_log: OwnLog) -> Iterator[type[Acts]]:
    with direct() as raw:
        yield type("ActsOnOwnLog", (Acts,), {"raw": raw, "log": committed_log})


def test_any_order_of_acts_and_crashes_leaves_a_whole_ledger(machine: type[Acts]):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
