"""The only place that writes to the ledger from Django: entries, in the caller's transaction."""

from __future__ import annotations

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

    The entry exists if and only if the transaction commits; the database stamps its times and its
    place within its correlation. What is private of it is encrypted for `person` (a name as in
    audit.subjects), who is the actor or whom they act for where nobody is given.
    Raises NotInTransaction, NoLedger, entries.EntryTooLarge, canonical.NotCanonical.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction(kind=event.kind)
    subject = None
    if needs_subject(event, actor):
        subject = subjects.of(person or actor.person)
    entry = draft(event, actor=actor, correlation=correlation, subject=subject)
    with connection.cursor() as cursor:
        cursor.execute(*recording([entry]))
        if cursor.rowcount != 1:
            cursor.execute("SELECT current_user::text")
            raise NoLedger(role=cursor.fetchone()[0])
        if kept := keeping([entry]):
            cursor.execute(*kept)
    return entry.id


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
