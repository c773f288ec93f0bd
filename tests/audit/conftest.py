"""The only place for ledgers of a test's own: rolled back with it, or committed for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection, transaction
from own_logs import MADE, OwnLog, act_as, direct, make_log, record_committed
from own_losses import forgotten, sequence
from own_tokens import SoftToken, make_token, need_softhsm, softhsm
from own_witness import LOG, Client, serving
from psycopg import sql
from pytest_django import DjangoDbBlocker

from audit import anchoring, rotations, sequencer, subjects
from audit.bodies import Subject
from audit.checkpoints import Checkpoint, SigningKey
from audit.guard import Guard
from audit.witness import keys


@pytest.fixture(autouse=True)
def _afterwards_the_login_role() -> Iterator[None]:
    yield
    connection.set_schema_to_public()


@pytest.fixture
def own_log(db: None) -> OwnLog:
    """A log of this test alone; the connection acts as its role. Rolled back."""
    made = make_log()
    act_as(made.role)
    return made


@pytest.fixture
def other_log(db: None) -> OwnLog:
    """Another tenant's log. The connection is left who it was. Rolled back."""
    before = connection.tenant
    act_as("none")
    made = make_log()
    connection.set_tenant(before)
    return made


@pytest.fixture(autouse=True)
def own_logs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's sequencer and places see its own logs alone.

    What they commit is not in the tenants' logs, which other tests look at; and those of the tests
    before, which are never deleted, would take longer each time.
    """
    MADE.clear()
    every = sequencer.outstanding
    monkeypatch.setattr(
        sequencer, "outstanding", lambda raw: [log for log in every(raw) if log in MADE]
    )
    recordable = rotations.recordable
    monkeypatch.setattr(
        rotations,
        "recordable",
        lambda cursor: [log for log in recordable(cursor) if log.id in MADE],
    )
    published = anchoring._published
    monkeypatch.setattr(
        anchoring,
        "_published",
        lambda begin: [newest for newest in published(begin) if newest.log in MADE],
    )


@pytest.fixture
def committed_log(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[OwnLog]:
    """A log that other connections see. What is recorded in it stays: the ledger is append-only."""
    with django_db_blocker.unblock():
        with transaction.atomic():
            made = make_log()
        yield made
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(made.role)))


@pytest.fixture
def other_committed_log(committed_log: OwnLog) -> Iterator[OwnLog]:
    """Another tenant's, committed too."""
    with transaction.atomic():
        made = make_log()
    yield made
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(made.role)))


@pytest.fixture
def erika(committed_log: OwnLog) -> Subject:
    """Somebody whom the committed log knows, with the key that it has of her."""
    act_as(committed_log.role)
    with transaction.atomic():
        made = subjects.of("person:Erika")
    act_as("none")
    return made


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    """What remembers the signed checkpoints of one sequencer."""
    return Guard(tmp_path / "guard")


@pytest.fixture
def raw(committed_log: OwnLog) -> Iterator[psycopg.Connection]:
    """A connection of its own, as the login role, committing each statement."""
    with direct() as connected:
        yield connected


@pytest.fixture
def lost(raw: psycopg.Connection, committed_log: OwnLog, guard: Guard) -> Checkpoint:
    """A checkpoint over 5 entries that was signed; the database is back at the first 3."""
    record_committed(raw, committed_log, 3)
    sequence(raw, guard)
    with forgotten(raw):
        record_committed(raw, committed_log, 2)
        sequence(raw, guard)
    last = guard.last(committed_log.id)
    assert last is not None
    assert last.size == 5
    return last


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The key file of Carol's witness."""
    path = tmp_path / "witness.key"
    keys.make("witness.test/carol", path)
    return path


@pytest.fixture
def own(key_file: Path) -> list[SigningKey]:
    """The keys of Carol's witness."""
    return keys.load(key_file)


@pytest.fixture
def client(tmp_path: Path, own: list[SigningKey]) -> Iterator[Client]:
    """Carol's witness at work, and who asks it."""
    with serving(tmp_path / "state", own, [LOG]) as made:
        yield made


@pytest.fixture
def soft_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    """A token of this test alone, in the only place for tokens that SoftHSM knows."""
    need_softhsm()
    folder = tmp_path / "softhsm"
    folder.mkdir()
    monkeypatch.setenv("SOFTHSM2_CONF", "")  # so that it is put back afterwards
    softhsm(folder)
    return make_token(folder)
