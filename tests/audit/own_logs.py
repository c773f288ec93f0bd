"""The only place for what the ledger's tests share: logs of their own, and one event."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from psycopg import sql

from audit import ledger, sequencer
from audit.checkpoints import Checkpoint
from audit.entries import Draft, draft, keeping, recording
from audit.events import SYSTEM, Actor, Bound, Event, Private
from audit.guard import Guard
from audit.management.commands.run_sequencer import connection_parameters

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class NoteTaken(Event, kind="test.note_taken"):
    """Somebody noted something. Only the tests record it."""

    note: str
    number: int = 0


class Confided(Event, kind="test.confided"):
    """Somebody said something in confidence, and agreed to something. Only the tests record it."""

    topic: str
    words: Private[str | None] = None
    terms: Bound[dict[str, Any] | None] = None


ROBO = Actor(kind="client_app", id="robo", on_behalf_of="customer 7")


class OwnLog(msgspec.Struct, frozen=True):
    """A log and the role that it belongs to."""

    id: UUID
    role: str
    origin: str


MADE: set[UUID] = set()
"""The logs that this test made: its sequencers leave those of tenants and of other tests alone."""


def make_log() -> OwnLog:
    """A role without login and its log, in the caller's transaction."""
    name = uuid4().hex[:12]
    role, origin = f"{connection.settings_dict['NAME']}_{name}", f"ledger.test/{name}"
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        grant = sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE")
        cursor.execute(grant.format(sql.Identifier(role)))
    made = OwnLog(ledger.open_log(role=role, origin=origin), role, origin)
    MADE.add(made.id)
    return made


def act_as(role: str) -> None:
    """Let Django's connection be `role` until the test ends ("none": the login role)."""
    connection.set_tenant(SimpleNamespace(schema_name="public", role_name=role))


def publish() -> Checkpoint:
    """Seal everything that waits and publish it, within the test's transaction."""
    raw = connection.connection
    published = None
    with tempfile.TemporaryDirectory() as folder:
        guard = Guard(Path(folder))
        for log in sequencer.outstanding(raw):
            while sequencer.seal(raw, log):
                pass
            published = sequencer.publish(raw, log, KEY, guard=guard) or published
    assert published is not None
    return published


@contextlib.contextmanager
def direct() -> Iterator[psycopg.Connection]:
    """A connection of its own, as the login role, committing each statement."""
    with psycopg.connect(**connection_parameters(), autocommit=True) as raw:
        yield raw


def environment(**variables: str) -> dict[str, str]:
    """What a process needs to work on the tests' own database."""
    settings = connection.settings_dict
    url = f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"
    return {**os.environ, "DATABASE_URL": url, **variables}


def record_all(raw: psycopg.Connection, log: OwnLog, drafts: Sequence[Draft]) -> None:
    """Record `drafts` in one statement and one transaction, over `raw`."""
    with raw.transaction():
        raw.execute("SELECT set_config('role', %s, true)", [log.role])
        raw.execute(*recording(drafts))
        if kept := keeping(drafts):
            raw.execute(*kept)


def record_committed(raw: psycopg.Connection, log: OwnLog, count: int) -> list[UUID]:
    """Record `count` notes in one commit, over `raw`."""
    drafts = [draft(NoteTaken(note="kept", number=n), actor=SYSTEM) for n in range(count)]
    record_all(raw, log, drafts)
    return [made.id for made in drafts]


def ask(raw: psycopg.Connection, log: OwnLog, query: str, *parameters: object) -> list[Any]:
    """What the log's role reads, over `raw`."""
    with raw.transaction():
        raw.execute("SELECT set_config('role', %s, true)", [log.role])
        return raw.execute(query, parameters or None).fetchall()
