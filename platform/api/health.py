"""The only place that tells whoever watches the servers whether they work."""

from __future__ import annotations

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from psycopg import Connection
from psycopg import Error as DriverError

from audit import sequencer
from tenants import isolation


def health(request: HttpRequest) -> JsonResponse:
    """200 where the database answers, else 503; and how many ledgers wait to be sealed.

    A ledger waits for a fraction of a second after each entry. A number that never falls to 0
    means that no sequencer runs. Nobody need sign in, so nothing of a tenant is told.
    """
    try:
        with isolation.outside_tenants():
            waiting = len(sequencer.outstanding(_driver_connection()))
    except (Error, DriverError):
        return failing()
    return JsonResponse({"status": "ok", "database": "ok", "sealing": {"ledgers_waiting": waiting}})


def failing() -> JsonResponse:
    """What is answered where the database does not answer."""
    return JsonResponse({"status": "failing", "database": "unreachable"}, status=503)


def _driver_connection() -> Connection:
    """Psycopg's own connection, as the login role (it is Django's cursor that takes on roles)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    raw: Connection = connection.connection
    return raw
