"""The only place for what the ledger's tests share: logs of their own, and one event."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from uuid import UUID, uuid4

import msgspec
import psycopg
from bundle_folder import KEY
from django.db import connection
from psycopg import sql

from audit import ledger, sequencer
from audit.checkpoints import Checkpoint
from audit.entries import RECORD, columns_of, draft
from audit.events import SYSTEM, Actor, Event
from audit.management.commands.run_sequencer import connection_parameters


class NoteTaken(Event, kind="test.note_taken"):
    """Somebody noted something. Only the tests record it."""

    note: str
    number: int = 0


ROBO = Actor(kind="client_app", id="robo", on_behalf_of="customer 7")


class OwnLog(msgspec.Struct, frozen=True):
    """A log and the role that it belongs to."""

    id: UUID
    role: str
    origin: str


def make_log() -> OwnLog:
    """A role without login and its log, in the caller's transaction."""
    name = uuid4().hex[:12]
    role, origin = f"{connection.settings_dict['NAME']}_{name}", f"ledger.test/{name}"
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        grant = sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE")
        cursor.execute(grant.format(sql.Identifier(role)))
    return OwnLog(ledger.open_log(role=role, origin=origin), role, origin)


def act_as(role: str) -> None:
    """Let Django's connection be `role` until the test ends ("none": the login role)."""
    connection.set_tenant(SimpleNamespace(schema_name="public", role_name=role))


def publish() -> Checkpoint:
    """Seal everything that waits and publish it, within the test's transaction."""
    raw = connection.connection
    published = None
    for log in sequencer.outstanding(raw):
        while sequencer.seal(raw, log):
            pass
        published = sequencer.publish(raw, log, KEY) or published
    assert published is not None
    return published


@contextlib.contextmanager
def direct() -> Iterator[psycopg.Connection]:
    """A connection of its own, as the login role, committing each statement."""
    with psycopg.connect(**connection_parameters(), autocommit=True) as raw:
        yield raw


def record_committed(raw: psycopg.Connection, log: OwnLog, count: int) -> list[UUID]:
    """Record `count` notes in one commit, over `raw`."""
    drafts = [draft(NoteTaken(note="kept", number=n), actor=SYSTEM) for n in range(count)]
    with raw.transaction():
        raw.execute("SELECT set_config('role', %s, true)", [log.role])
        raw.execute(RECORD, columns_of(drafts))
    return [made.id for made in drafts]
