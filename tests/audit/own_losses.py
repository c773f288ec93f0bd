"""The only place for how a test lets a database lose what was signed, and people approve of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from uuid import UUID

import psycopg
from own_logs import KEY, OwnLog, ask, record_all

from audit import sequencer
from audit.entries import draft
from audit.events import Actor
from audit.guard import Guard
from runtime.events import LedgerRecoveryApproved

ALICE, BOB = (Actor(kind="member", id=str(UUID(int=number))) for number in (0xA11CE, 0xB0B))
HALTS = "SELECT id, signed_size, signed_root, size FROM audit.halt ORDER BY created_at"
SIZES = """
SELECT (SELECT count(*) FROM audit.leaf)::int, (SELECT count(*) FROM audit.pending)::int,
    (SELECT max(size) FROM audit.checkpoint)::int
"""


def sequence(raw: psycopg.Connection, guard: Guard) -> None:
    """What the sequencer does until nothing moves any more."""
    while sequencer.run_once(raw, KEY, guard=guard).sealed:
        continue


@contextlib.contextmanager
def forgotten(raw: psycopg.Connection) -> Iterator[None]:
    """What happens here is lost by the database, as by a restored backup; the folder has it."""
    with raw.transaction(force_rollback=True):
        yield


def approve(raw: psycopg.Connection, log: OwnLog, actor: Actor, halt: UUID | None = None) -> None:
    (id_, signed, root, size) = ask(raw, log, HALTS)[-1]
    event = LedgerRecoveryApproved(
        halt=str(halt or id_), signed_size=signed, signed_root=root.hex(), size=size
    )
    record_all(raw, log, [draft(event, actor=actor)])
