"""The only place for the ledger's tables, and for who may do what to them.

Nobody has UPDATE or TRUNCATE on anything; DELETE exists on the queue alone, for the sequencer.
Row-level security is bound to the role (current_user), not to a setting that a query could change.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composed, Identifier

from audit import roles

ROLES = (
    # The creator of a role has ADMIN OPTION on it (PostgreSQL 16), but may not SET it yet.
    "GRANT {owner}, {sequencer} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE",
    "CREATE SCHEMA audit AUTHORIZATION {owner}",
)

# No foreign key leads to `log` or to `entry`: checking one writes a lock into the row it leads to,
# once an entry. The policies below let an entry in only under a log that exists, and the sequencer
# makes leaves of entries that it reads.
TABLES = (
    r"""CREATE TABLE audit.log (
        id uuid PRIMARY KEY,
        origin text NOT NULL UNIQUE CHECK (origin ~ '^[a-z0-9][a-z0-9./:_-]{{0,254}}\Z'),
        role_name name NOT NULL UNIQUE,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    r"""CREATE TABLE audit.entry (
        id uuid NOT NULL,
        log_id uuid NOT NULL,
        kind text NOT NULL CHECK (kind ~ '^[a-z][a-z0-9_.]{{0,99}}\Z'),
        correlation uuid,
        actor_kind text NOT NULL CHECK (actor_kind IN ('member', 'agent', 'client_app', 'system')),
        actor_id text NOT NULL CHECK (octet_length(actor_id) < 256),
        actor_version text CHECK (octet_length(actor_version) < 256),
        on_behalf_of text CHECK (octet_length(on_behalf_of) < 256),
        payload bytea NOT NULL
            CHECK (octet_length(payload) <= 62464)
            CHECK (position('\x0a'::bytea IN payload) = 0)
            CHECK (convert_from(payload, 'UTF8') IS JSON OBJECT),
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (log_id, id),
        CHECK (concat_ws('', actor_id, actor_version, on_behalf_of) !~ '[[:cntrl:]]')
    )""",
    """CREATE INDEX entry_correlation ON audit.entry (log_id, correlation, id)
        WHERE correlation IS NOT NULL""",
    "CREATE INDEX entry_kind ON audit.entry (log_id, kind, id)",
    """CREATE TABLE audit.pending (
        log_id uuid NOT NULL,
        entry_id uuid NOT NULL,
        PRIMARY KEY (log_id, entry_id)
    )""",
    """CREATE TABLE audit.leaf (
        log_id uuid NOT NULL,
        index bigint NOT NULL CHECK (index >= 0),
        entry_id uuid NOT NULL UNIQUE,
        leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
        PRIMARY KEY (log_id, index)
    )""",
    """CREATE TABLE audit.tree_head (
        log_id uuid NOT NULL,
        size bigint NOT NULL CHECK (size > 0),
        root bytea NOT NULL CHECK (octet_length(root) = 32),
        frontier bytea[] NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (log_id, size)
    )""",
    """CREATE TABLE audit.checkpoint (
        log_id uuid NOT NULL,
        size bigint NOT NULL,
        note text NOT NULL,
        verifier_key text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (log_id, size),
        FOREIGN KEY (log_id, size) REFERENCES audit.tree_head (log_id, size)
    )""",
)

GRANTS = (
    "GRANT USAGE ON SCHEMA audit TO {tenants}, {sequencer}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA audit TO {tenants}, {sequencer}",
    # Without recorded_at: the database's clock fills it, and no caller can.
    """GRANT INSERT (id, log_id, kind, correlation, actor_kind, actor_id, actor_version,
        on_behalf_of, payload) ON audit.entry TO {tenants}""",
    "GRANT INSERT ON audit.pending TO {tenants}",
    "GRANT DELETE ON audit.pending TO {sequencer}",
    "GRANT INSERT (log_id, index, entry_id, leaf_hash) ON audit.leaf TO {sequencer}",
    "GRANT INSERT (log_id, size, root, frontier) ON audit.tree_head TO {sequencer}",
    "GRANT INSERT (log_id, size, note, verifier_key) ON audit.checkpoint TO {sequencer}",
)

OWN_LOG = "log_id = (SELECT id FROM audit.log WHERE role_name = current_user)"
LOG_TABLES = ("entry", "pending", "leaf", "tree_head", "checkpoint")

POLICIES = (
    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own ON {table} TO {tenants} USING ({own}) WITH CHECK ({own})",
    "CREATE POLICY every ON {table} TO {sequencer} USING (true)",
)


def statements(database: str, existing_roles: set[str]) -> list[Composed]:
    """The SQL that makes the schema `audit` and its roles, in order.

    For a login role that may create roles and has CREATE on the database; no superuser is needed.
    """
    names = {
        "owner": roles.owner_of(database),
        "sequencer": roles.sequencer_of(database),
        "tenants": roles.tenants_of(database),
    }
    identifiers = {key: Identifier(name) for key, name in names.items()}
    missing = [name for name in names.values() if name not in existing_roles]
    return [
        *(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(name)) for name in missing),
        *(SQL(text).format(**identifiers) for text in ROLES),
        SQL("SET LOCAL ROLE {owner}").format(**identifiers),
        *(SQL(text).format(**identifiers) for text in (*TABLES, *GRANTS)),
        *_policies(identifiers["tenants"], identifiers["sequencer"]),
        SQL("SET LOCAL ROLE NONE").format(),
    ]


def _policies(tenants: Identifier, sequencer: Identifier) -> list[Composed]:
    made = []
    for name in ("log", *LOG_TABLES):
        names = {
            "table": Identifier("audit", name),
            "tenants": tenants,
            "sequencer": sequencer,
            "own": SQL("role_name = current_user" if name == "log" else OWN_LOG),
        }
        made += [SQL(text).format(**names) for text in POLICIES]
    return made
