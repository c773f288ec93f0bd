"""The only place for what the ledger's database does by itself: it stamps, obeys and refuses."""

from __future__ import annotations

# The database looks at each entry and stamps it, so that nobody who writes one can choose its
# times, or keep it from being sealed. Of one correlation one transaction records at a time; the
# lock is its own, never the log's, and a marker is numbered under it: markers are in the order of
# recording whatever a server's clock does. All in one function, compiled once a session: PostgreSQL
# parses each CHECK constraint and each WHEN anew in every statement, at 5 microseconds apiece. A
# bounded repetition as in {0,99} makes a regular expression as slow as that again.
# A fixed search_path, since the function has its owner's rights.
FUNCTIONS = (
    r"""CREATE FUNCTION audit.stamp() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE
        wrong constant text := CASE
            WHEN new.kind !~ '^[a-z][a-z0-9_.]*\Z' OR octet_length(new.kind) > 100 THEN 'kind'
            WHEN new.actor_kind NOT IN ('member', 'agent', 'client_app', 'system')
                THEN 'actor_kind'
            WHEN octet_length(new.actor_id) > 255 OR new.actor_id ~ '[[:cntrl:]]' THEN 'actor_id'
            WHEN octet_length(new.actor_version) > 255 OR new.actor_version ~ '[[:cntrl:]]'
                THEN 'actor_version'
            WHEN new.actor_means !~ '^[a-z_]+\Z' OR octet_length(new.actor_means) > 30
                THEN 'actor_means'
            WHEN new.on_behalf_of
                !~ '^([0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|[0-9a-f]{{16}})\Z'
                THEN 'on_behalf_of'
            WHEN octet_length(new.payload) > 62464
                OR position('\x0a'::bytea IN new.payload) > 0
                OR convert_from(new.payload, 'UTF8') IS NOT JSON OBJECT THEN 'payload'
        END;
    BEGIN
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'The % of an entry is malformed.', wrong
                USING ERRCODE = 'check_violation', COLUMN = wrong;
        END IF;
        IF new.correlation IS NOT NULL THEN
            PERFORM pg_advisory_xact_lock(
                uuid_hash_extended(new.correlation, uuid_hash_extended(new.log_id, 1)));
        END IF;
        new.occurred_at := transaction_timestamp();
        new.recorded_at := clock_timestamp();
        IF new.kind IN ('hold.placed', 'hold.released', 'subject.erased', 'retention.applied') THEN
            PERFORM audit.act(new.log_id, new.id, new.kind, new.payload);
        END IF;
        INSERT INTO audit.pending (log_id, entry_id) VALUES (new.log_id, new.id);
        RETURN new;
    END $$""",
    """CREATE FUNCTION audit.refuse() RETURNS trigger
        LANGUAGE plpgsql SET search_path = pg_catalog AS $$
    BEGIN
        IF tg_op = 'DELETE' AND tg_table_name IN ('body', 'subject_key')
                AND pg_trigger_depth() > 1 THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'The ledger is append-only: % of audit.% is refused.',
            tg_op, tg_table_name USING ERRCODE = 'insufficient_privilege';
    END $$""",
    # What an entry of these kinds says is done by recording it, in its log and with the rights of
    # the owner; the policies saw to it that the log is the caller's. One at a time in a log, so
    # that no hold comes between the look for one and the act.
    """CREATE FUNCTION audit.act(own uuid, recorded uuid, what text, payload bytea) RETURNS void
        LANGUAGE plpgsql SET search_path = pg_catalog AS $$
    DECLARE
        said constant json := convert_from(payload, 'UTF8');
        named constant uuid[] := CASE json_typeof(said -> 'subjects') WHEN 'array' THEN
            ARRAY(SELECT json_array_elements_text(said -> 'subjects')::uuid) END;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(own::text, 2));
        IF what = 'hold.placed' THEN
            INSERT INTO audit.hold (log_id, id, subjects) VALUES (own, recorded, named);
        ELSIF what = 'hold.released' THEN
            INSERT INTO audit.hold_release (log_id, hold_id, entry_id)
                VALUES (own, (said ->> 'hold')::uuid, recorded);
        ELSIF what = 'subject.erased' THEN
            IF EXISTS (SELECT FROM unnest(named) AS subject
                    WHERE audit.is_held(own, subject)) THEN
                RAISE EXCEPTION 'A legal hold stands: nothing is erased.'
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            DELETE FROM audit.body WHERE log_id = own AND subject = ANY(named);
            DELETE FROM audit.subject_key WHERE log_id = own AND id = ANY(named);
        ELSE
            -- Six months are the floor (Regulation (EU) 2024/1689, articles 19 and 26).
            DELETE FROM audit.body USING audit.entry, audit.leaf
                WHERE body.log_id = own
                AND entry.log_id = own AND entry.id = body.entry_id
                AND leaf.log_id = own AND leaf.entry_id = body.entry_id
                AND leaf.index < (said ->> 'before_index')::bigint
                AND entry.recorded_at < clock_timestamp() - interval '6 months'
                AND EXISTS (SELECT FROM json_array_elements_text(said -> 'kinds') AS prefix
                    WHERE starts_with(entry.kind, prefix))
                AND NOT audit.is_held(own, body.subject);
        END IF;
    END $$""",
    """CREATE FUNCTION audit.is_held(log uuid, subject uuid) RETURNS boolean
        LANGUAGE sql STABLE SET search_path = pg_catalog
        RETURN EXISTS (SELECT FROM audit.hold WHERE hold.log_id = log
            AND (hold.subjects IS NULL OR subject = ANY(hold.subjects))
            AND NOT EXISTS (SELECT FROM audit.hold_release AS release
                WHERE release.log_id = log AND release.hold_id = hold.id))""",
    """CREATE TRIGGER stamp BEFORE INSERT ON audit.entry
        FOR EACH ROW EXECUTE FUNCTION audit.stamp()""",
    "ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER stamp",
)
