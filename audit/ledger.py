"""The only place that writes to the ledger from Django: entries, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import connection
from psycopg import sql

from audit import roles, subjects
from audit.entries import draft, keeping, needs_subject, recording
from audit.errors import Problem
from audit.events import Actor, Event
from audit.ids import new_id
from audit.roles import NoLedger


class NotInTransaction(Problem):
    """The event {kind} must be recorded in the transaction of what it records."""

    code = "not_in_transaction"
    status = 500


class OriginTaken(Problem):
    """The origin {origin} or the role {role} belongs to another ledger."""

    code = "origin_taken"
    status = 409


def record(
    event: Event, *, actor: Actor, correlation: UUID | None = None, person: str | None = None
) -> UUID:
    """Write `event` into the acting tenant's ledger, in the caller's transaction; the entry's id.

    What `record_all` says of many is true of it.
    """
    (made,) = record_all([event], actor=actor, correlation=correlation, person=person)
    return made


def record_all(
    events: Sequence[Event],
    *,
    actor: Actor,
    correlation: UUID | None = None,
    person: str | None = None,
) -> list[UUID]:
    """Write `events`, in this order, into the acting tenant's ledger; the entries' ids.

    The entries exist if and only if the caller's transaction commits; the database stamps their
    times and their places within their correlation. What is private of them is encrypted for
    `person` (a name as in audit.subjects), who is the actor or whom they act for where nobody is
    given. Raises NotInTransaction, NoLedger, entries.EntryTooLarge, canonical.NotCanonical.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction(kind=", ".join(event.kind for event in events))
    subject = None
    if any(needs_subject(event, actor) for event in events):
        subject = subjects.of(person or actor.person)
    made = [draft(event, actor=actor, correlation=correlation, subject=subject) for event in events]
    with connection.cursor() as cursor:
        cursor.execute(*recording(made))
        if cursor.rowcount != len(made):
            cursor.execute("SELECT current_user::text")
            raise NoLedger(role=cursor.fetchone()[0])
        if kept := keeping(made):
            cursor.execute(*kept)
    return [entry.id for entry in made]


def open_log(*, role: str, origin: str) -> UUID:
    """Give the PostgreSQL role `role` a ledger named `origin`, for ever; the log's id.

    In the caller's transaction, as the login role. Again with the same two: the same log.
    Raises NotInTransaction, OriginTaken.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction(kind="log")
    database = connection.settings_dict["NAME"]
    grant = sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE")
    with connection.cursor() as cursor:
        cursor.execute(
            grant.format(sql.Identifier(roles.tenants_of(database)), sql.Identifier(role))
        )
        with roles.acting_as(cursor, roles.owner_of(database)):
            cursor.execute(
                "INSERT INTO audit.log (id, origin, role_name) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [new_id(), origin, role],
            )
            cursor.execute(
                "SELECT id FROM audit.log WHERE origin = %s AND role_name = %s", [origin, role]
            )
            row = cursor.fetchone()
    if row is None:
        raise OriginTaken(origin=origin, role=role)
    return row[0]  # type: ignore[no-any-return]
