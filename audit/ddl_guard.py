"""The only place for the event triggers that keep DDL away from the schema `audit`.

They stop whoever may act as the ledger's owner, a superuser included, from dropping or altering
what the ledger is made of by mistake or by injected SQL; `audit.maintain(statement)` is the one
way, and writes down what it runs, and who ran it. Only a superuser can make event triggers: the
embedded server has them from its beginning; on another server somebody runs
`manage.py protect_ledger` as one, before the first migration or at any time later.
Non-goal: a superuser who means it can drop the event triggers first. An outside checkpoint shows
what was done to entries then.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composed, Identifier

from audit import roles
from audit.roles import Cursor

NAMES = ("audit_ddl", "audit_drop")

STATEMENTS = (
    """CREATE TABLE audit.maintenance (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        statement text NOT NULL,
        session_role name NOT NULL DEFAULT session_user,
        transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    """CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.maintenance
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse()""",
    "ALTER TABLE audit.maintenance ENABLE ALWAYS TRIGGER append_only",
    """CREATE FUNCTION audit.maintain(statement text) RETURNS void
        LANGUAGE plpgsql SET search_path = pg_catalog AS $$
    BEGIN
        INSERT INTO audit.maintenance (statement) VALUES (maintain.statement);
        EXECUTE maintain.statement;
    END $$""",
    "REVOKE EXECUTE ON FUNCTION audit.maintain(text) FROM PUBLIC",
    # From this row on the event triggers refuse.
    "INSERT INTO audit.maintenance (statement) VALUES ('the ledger was made')",
)

# As a superuser, and in its name: the ledger's owner can't change what these do. They do nothing
# before the ledger is made, that is, before `audit.maintenance` has a row.
GUARD = (
    """CREATE OR REPLACE FUNCTION public.audit_refuse_ddl() RETURNS event_trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE
        touched text;
    BEGIN
        IF to_regclass('audit.maintenance') IS NOT NULL THEN
            -- Who can make such a row is the owner, and the row is what shall be there afterwards.
            IF NOT EXISTS (SELECT FROM audit.maintenance) OR EXISTS (
                    SELECT FROM audit.maintenance WHERE transaction = pg_current_xact_id()) THEN
                RETURN;
            END IF;
        ELSIF tg_event <> 'sql_drop' THEN
            RETURN;
        END IF;
        IF tg_event = 'sql_drop' THEN
            SELECT object_identity INTO touched FROM pg_event_trigger_dropped_objects()
                WHERE schema_name = 'audit' OR object_identity = 'audit'
                    OR object_identity LIKE '% on audit.%' LIMIT 1;
        ELSE
            SELECT object_identity INTO touched FROM pg_event_trigger_ddl_commands()
                WHERE schema_name = 'audit' OR object_identity = 'audit'
                    OR object_identity LIKE '% on audit.%' LIMIT 1;
        END IF;
        IF touched IS NOT NULL THEN
            RAISE EXCEPTION 'The ledger is append-only: % of % is refused outside audit.maintain.',
                tg_tag, touched USING ERRCODE = 'insufficient_privilege';
        END IF;
    END $$""",
    "REVOKE EXECUTE ON FUNCTION public.audit_refuse_ddl() FROM PUBLIC",
    """CREATE EVENT TRIGGER audit_ddl ON ddl_command_end
        EXECUTE FUNCTION public.audit_refuse_ddl()""",
    "CREATE EVENT TRIGGER audit_drop ON sql_drop EXECUTE FUNCTION public.audit_refuse_ddl()",
    "ALTER EVENT TRIGGER audit_ddl ENABLE ALWAYS",
    "ALTER EVENT TRIGGER audit_drop ENABLE ALWAYS",
)

PRESENT = "SELECT count(*) FROM pg_event_trigger WHERE evtname = ANY(%s) AND evtenabled = 'A'"
SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"


def maintenance(database: str) -> list[Composed]:
    """The SQL that makes the one way around the event triggers, as the ledger's owner: the end of
    the ledger's first migration.
    """
    return [
        SQL("SET LOCAL ROLE {}").format(Identifier(roles.owner_of(database))),
        *(SQL(text).format() for text in map(_escaped, STATEMENTS)),
        SQL("SET LOCAL ROLE NONE").format(),
    ]


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def is_there(cursor: Cursor) -> bool:
    """Whether the event triggers are made and enabled."""
    cursor.execute(PRESENT, [list(NAMES)])
    (count,) = cursor.fetchone()
    return bool(count == len(NAMES))


def protect(cursor: Cursor) -> bool:
    """Make the event triggers, if whoever is connected may and they are missing; whether they are
    there now."""
    if is_there(cursor):
        return True
    cursor.execute(SUPERUSER)
    (is_superuser,) = cursor.fetchone()
    if not is_superuser:
        return False
    for name in NAMES:
        cursor.execute(f"DROP EVENT TRIGGER IF EXISTS {name}")
    for statement in GUARD:
        cursor.execute(statement)
    return True
