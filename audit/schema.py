"""The only place for the ledger's tables, and for who may do what to them.

Nobody has UPDATE or TRUNCATE on anything, and DELETE exists on the queue for the sequencer alone.
What is private goes by a trigger, as the entry that says so is recorded, and in no other way: no
role may delete a body or a subject's key, so none goes without its entry, or against a legal hold.
Triggers stop the owner as well, also in a session that plays a replica's (ENABLE ALWAYS). Row-level
security is bound to the role (current_user), not to a setting that a query could change.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composed, Identifier

from audit import roles
from audit.triggers import FUNCTIONS

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
    # What its columns may hold is for the trigger `stamp` to say.
    """CREATE TABLE audit.entry (
        id uuid NOT NULL,
        log_id uuid NOT NULL,
        kind text NOT NULL,
        correlation uuid,
        actor_kind text NOT NULL,
        actor_id text NOT NULL,
        actor_version text,
        actor_means text,
        on_behalf_of text,
        subject uuid,
        payload bytea NOT NULL,
        occurred_at timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        PRIMARY KEY (log_id, id)
    )""",
    """CREATE INDEX entry_correlation ON audit.entry (log_id, correlation)
        WHERE correlation IS NOT NULL""",
    "CREATE INDEX entry_kind ON audit.entry (log_id, kind, id)",
    """CREATE TABLE audit.pending (
        log_id uuid NOT NULL,
        ordinal bigint GENERATED ALWAYS AS IDENTITY,
        entry_id uuid NOT NULL,
        PRIMARY KEY (log_id, ordinal)
    )""",
    """CREATE TABLE audit.leaf (
        log_id uuid NOT NULL,
        index bigint NOT NULL CHECK (index >= 0),
        entry_id uuid NOT NULL,
        correlation uuid,
        sequence bigint CHECK (sequence >= 0),
        previous bytea CHECK (octet_length(previous) = 32),
        leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
        PRIMARY KEY (log_id, index),
        UNIQUE (log_id, entry_id),
        CHECK ((correlation IS NULL) = (sequence IS NULL)),
        CHECK ((previous IS NULL) = (coalesce(sequence, 0) = 0))
    )""",
    """CREATE UNIQUE INDEX leaf_sequence ON audit.leaf (log_id, correlation, sequence)
        WHERE correlation IS NOT NULL""",
    """CREATE TABLE audit.tile (
        log_id uuid NOT NULL,
        level smallint NOT NULL CHECK (level BETWEEN 0 AND 63),
        index bigint NOT NULL CHECK (index >= 0),
        hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
        root bytea NOT NULL CHECK (octet_length(root) = 32),
        PRIMARY KEY (log_id, level, index)
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
    """CREATE TABLE audit.cosignature (
        log_id uuid NOT NULL,
        size bigint NOT NULL,
        verifier_key text NOT NULL,
        line text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (log_id, size, verifier_key),
        FOREIGN KEY (log_id, size) REFERENCES audit.checkpoint (log_id, size)
    )""",
    """CREATE TABLE audit.anchor (
        log_id uuid NOT NULL,
        size bigint NOT NULL,
        place text NOT NULL,
        evidence bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (log_id, size, place),
        FOREIGN KEY (log_id, size) REFERENCES audit.checkpoint (log_id, size)
    )""",
    """CREATE TABLE audit.halt (
        id uuid PRIMARY KEY,
        log_id uuid NOT NULL,
        signed_size bigint NOT NULL,
        signed_root bytea NOT NULL CHECK (octet_length(signed_root) = 32),
        size bigint NOT NULL,
        reason text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    "CREATE INDEX halt_of_log ON audit.halt (log_id, signed_size)",
    """CREATE TABLE audit.subject_key (
        id uuid PRIMARY KEY,
        log_id uuid NOT NULL,
        name_code bytea NOT NULL CHECK (octet_length(name_code) = 32),
        wrapped bytea NOT NULL CHECK (octet_length(wrapped) < 256),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (log_id, name_code)
    )""",
    """CREATE TABLE audit.body (
        log_id uuid NOT NULL,
        entry_id uuid NOT NULL,
        subject uuid NOT NULL,
        sealed bytea NOT NULL,
        PRIMARY KEY (log_id, entry_id)
    )""",
    "CREATE INDEX body_subject ON audit.body (log_id, subject)",
    """CREATE TABLE audit.hold (
        log_id uuid NOT NULL,
        id uuid NOT NULL,
        subjects uuid[] CHECK (cardinality(subjects) > 0),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (log_id, id)
    )""",
    """CREATE TABLE audit.hold_release (
        log_id uuid NOT NULL,
        hold_id uuid NOT NULL,
        entry_id uuid NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (log_id, hold_id),
        FOREIGN KEY (log_id, hold_id) REFERENCES audit.hold (log_id, id)
    )""",
)

# What is refused to everybody, the owner included. Rows of the queue go when they are sealed, and
# bodies and subjects' keys within the trigger `act`; nothing is ever changed.
REFUSED = {
    "log": "UPDATE OR DELETE OR TRUNCATE",
    "entry": "UPDATE OR DELETE OR TRUNCATE",
    "leaf": "UPDATE OR DELETE OR TRUNCATE",
    "tile": "UPDATE OR DELETE OR TRUNCATE",
    "tree_head": "UPDATE OR DELETE OR TRUNCATE",
    "checkpoint": "UPDATE OR DELETE OR TRUNCATE",
    "cosignature": "UPDATE OR DELETE OR TRUNCATE",
    "anchor": "UPDATE OR DELETE OR TRUNCATE",
    "halt": "UPDATE OR DELETE OR TRUNCATE",
    "pending": "UPDATE OR TRUNCATE",
    "subject_key": "UPDATE OR DELETE OR TRUNCATE",
    "body": "UPDATE OR DELETE OR TRUNCATE",
    "hold": "UPDATE OR DELETE OR TRUNCATE",
    "hold_release": "UPDATE OR DELETE OR TRUNCATE",
}
DEFENCES = (
    """CREATE TRIGGER append_only BEFORE {refused} ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse()""",
    "ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only",
)

GRANTS = (
    "GRANT USAGE ON SCHEMA audit TO {tenants}, {sequencer}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA audit TO {tenants}, {sequencer}",
    "REVOKE ALL ON audit.body, audit.subject_key, audit.hold, audit.hold_release FROM {sequencer}",
    # Without what the database stamps: no caller can choose it.
    """GRANT INSERT (id, log_id, kind, correlation, actor_kind, actor_id, actor_version,
        actor_means, on_behalf_of, subject, payload) ON audit.entry TO {tenants}""",
    "GRANT INSERT (log_id, entry_id, subject, sealed) ON audit.body TO {tenants}",
    "GRANT INSERT (id, log_id, name_code, wrapped) ON audit.subject_key TO {tenants}",
    "GRANT DELETE ON audit.pending TO {sequencer}",
    """GRANT INSERT (log_id, index, entry_id, correlation, sequence, previous, leaf_hash)
        ON audit.leaf TO {sequencer}""",
    "GRANT INSERT (log_id, level, index, hashes, root) ON audit.tile TO {sequencer}",
    "GRANT INSERT (log_id, size, root, frontier) ON audit.tree_head TO {sequencer}",
    "GRANT INSERT (log_id, size, note, verifier_key) ON audit.checkpoint TO {sequencer}",
    "GRANT INSERT (log_id, size, verifier_key, line) ON audit.cosignature TO {sequencer}",
    "GRANT INSERT (log_id, size, place, evidence) ON audit.anchor TO {sequencer}",
    """GRANT INSERT (id, log_id, signed_size, signed_root, size, reason)
        ON audit.halt TO {sequencer}""",
    "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC",
)

OWN_LOG = "log_id = (SELECT id FROM audit.log WHERE role_name = current_user)"

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
        *(SQL(text).format(**identifiers) for text in (*TABLES, *FUNCTIONS, *GRANTS)),
        *_by_table(identifiers),
        SQL("SET LOCAL ROLE NONE").format(),
    ]


def _by_table(identifiers: dict[str, Identifier]) -> list[Composed]:
    made = []
    for name, refused in REFUSED.items():
        names = {
            **identifiers,
            "table": Identifier("audit", name),
            "refused": SQL(refused),
            "own": SQL("role_name = current_user" if name == "log" else OWN_LOG),
        }
        made += [SQL(text).format(**names) for text in (*POLICIES, *DEFENCES)]
    return made
