"""The only place that tests how a ledger goes on after a loss: not before two people approve."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from own_logs import KEY, OwnLog, ask, record_all, record_committed
from own_losses import ALICE, BOB, HALTS, SIZES, approve, forgotten, sequence

from audit import checkpoints, sequencer
from audit.checkpoints import Checkpoint, VerifierKey
from audit.entries import draft
from audit.events import SYSTEM, Actor
from audit.guard import Guard
from runtime.events import LedgerRecoveryApproved

APPROVALS = {
    "nobody": [],
    "one person": [ALICE],
    "one person twice": [ALICE, ALICE],
    "one person and the system": [ALICE, SYSTEM],
    "a person and an app": [ALICE, Actor(kind="client_app", id="0" * 16)],
    "a person and an agent for another": [
        ALICE,
        Actor(kind="agent", id="desk", on_behalf_of=BOB.id),
    ],
}


@pytest.mark.parametrize("who", APPROVALS)
def test_a_recovery_that_two_people_did_not_approve_is_none(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, lost: Checkpoint, who: str
):
    record_committed(raw, committed_log, 1)
    sequence(raw, guard)
    for actor in APPROVALS[who]:
        approve(raw, committed_log, actor)
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(3, 1 + len(APPROVALS[who]), 3)]
    assert len(ask(raw, committed_log, HALTS)) == 1


def test_approvals_of_another_halt_or_in_another_ledger_do_not_count(
    raw: psycopg.Connection,
    committed_log: OwnLog,
    other_committed_log: OwnLog,
    guard: Guard,
    lost: Checkpoint,
):
    record_committed(raw, committed_log, 1)
    sequence(raw, guard)
    ((halt, signed, root, size),) = ask(raw, committed_log, HALTS)
    event = LedgerRecoveryApproved(
        halt=str(halt), signed_size=signed, signed_root=root.hex(), size=size
    )
    for actor in (ALICE, BOB):
        approve(raw, committed_log, actor, uuid4())
        record_all(raw, other_committed_log, [draft(event, actor=actor)])
    approve(raw, committed_log, BOB)
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(3, 4, 3)]


def test_once_two_people_approved_it_goes_on_and_what_was_lost_is_kept_aside(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, lost: Checkpoint, tmp_path: Path
):
    record_committed(raw, committed_log, 1)
    sequence(raw, guard)
    for actor in (ALICE, BOB):
        approve(raw, committed_log, actor)
    sequence(raw, guard)
    # The approvals are entries like others.
    assert ask(raw, committed_log, SIZES) == [(6, 0, 6)]
    last = guard.last(committed_log.id)
    assert last is not None
    assert last.size == 6
    (aside,) = (tmp_path / "guard").glob("*lost*")
    key = VerifierKey(committed_log.origin, KEY.public_key())
    assert checkpoints.verify(aside.read_text(), key) == lost
    record_committed(raw, committed_log, 2)
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(8, 0, 8)]


def test_a_second_loss_needs_a_second_approval_and_keeps_both(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, lost: Checkpoint, tmp_path: Path
):
    record_committed(raw, committed_log, 1)
    sequence(raw, guard)
    for actor in (ALICE, BOB):
        approve(raw, committed_log, actor)
    with forgotten(raw):
        sequencer.is_halted(raw, committed_log.id, guard)
        sequencer.seal(raw, committed_log.id, limit=2)
        sequencer.publish(raw, committed_log.id, KEY, guard=guard)
    again = guard.last(committed_log.id)
    assert again is not None
    assert again.size == lost.size
    assert again.root != lost.root
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(3, 3, 3)]
    assert len(ask(raw, committed_log, HALTS)) == 2
    for actor in (ALICE, BOB):
        approve(raw, committed_log, actor)
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(8, 0, 8)]
    kept = {checkpoints.read(path.read_text()) for path in (tmp_path / "guard").glob("*lost*")}
    assert kept == {lost, again}


@pytest.mark.parametrize("halt", ["\x00", "{}", "", "x" * 1000, "\u2028"])
def test_an_approval_of_nonsense_does_not_hold_up_a_recovery(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, lost: Checkpoint, halt: str
):
    record_committed(raw, committed_log, 1)
    sequence(raw, guard)
    event = LedgerRecoveryApproved(halt=halt, signed_size=5, signed_root="", size=3)
    record_all(raw, committed_log, [draft(event, actor=ALICE)])
    for actor in (ALICE, BOB):
        approve(raw, committed_log, actor)
    sequence(raw, guard)
    assert ask(raw, committed_log, SIZES) == [(7, 0, 7)]


def test_a_tenant_can_not_halt_its_ledger_or_end_a_halt(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, lost: Checkpoint
):
    record_committed(raw, committed_log, 1)
    sequence(raw, guard)
    for statement in ("DELETE FROM audit.halt", "INSERT INTO audit.halt DEFAULT VALUES"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(raw, committed_log, statement)
