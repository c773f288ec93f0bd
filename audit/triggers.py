"""The only place for what the ledger's database does by itself: it stamps, obeys and refuses."""

from __future__ import annotations

# The database stamps each entry, so that nobody who writes one can choose its times or its place:
# the times, the next sequence within its correlation, the leaf hash of the entry before it, and
# the hash of its own leaf. The bytes are those of audit.entries.leaf_bytes; a test compares them.
# Of one correlation one transaction records at a time; the lock is its own, never the log's.
# A fixed search_path, since the function has its owner's rights.
FUNCTIONS = (
    r"""CREATE FUNCTION audit.stamp() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE
        before record;
        stamped constant text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
    BEGIN
        new.occurred_at := transaction_timestamp();
        new.recorded_at := clock_timestamp();
        IF new.correlation IS NOT NULL THEN
            PERFORM pg_advisory_xact_lock(
                hashtextextended(new.log_id::text || new.correlation::text, 1));
            SELECT entry.sequence, entry.leaf_hash, entry.recorded_at INTO before FROM audit.entry
                WHERE entry.log_id = new.log_id AND entry.correlation = new.correlation
                ORDER BY entry.sequence DESC LIMIT 1;
            new.sequence := coalesce(before.sequence + 1, 0);
            new.previous := before.leaf_hash;
            -- A server's clock may step back: what comes later in a run is not recorded earlier.
            new.recorded_at := greatest(new.recorded_at, before.recorded_at);
        ELSE
            new.sequence := NULL;
            new.previous := NULL;
        END IF;
        new.leaf_hash := sha256('\x00'::bytea || convert_to(
            '{{"actor":{{"id":' || to_json(new.actor_id)
            || ',"kind":"' || new.actor_kind
            || '","means":' || coalesce(to_json(new.actor_means)::text, 'null')
            || ',"on_behalf_of":' || coalesce(to_json(new.on_behalf_of)::text, 'null')
            || ',"version":' || coalesce(to_json(new.actor_version)::text, 'null')
            || '}},"correlation":' || coalesce(to_json(new.correlation)::text, 'null')
            || ',"event":', 'UTF8')
            || new.payload || convert_to(
            ',"id":"' || new.id || '","kind":"' || new.kind
            || '","log":"' || (SELECT log.origin FROM audit.log WHERE log.id = new.log_id)
            || '","occurred_at":"' || to_char(new.occurred_at AT TIME ZONE 'UTC', stamped)
            || '","previous":' || coalesce('"' || encode(new.previous, 'hex') || '"', 'null')
            || ',"recorded_at":"' || to_char(new.recorded_at AT TIME ZONE 'UTC', stamped)
            || '","sequence":' || coalesce(new.sequence::text, 'null')
            || ',"subject":' || coalesce(to_json(new.subject)::text, 'null')
            || '}}', 'UTF8'));
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
    """CREATE FUNCTION audit.act() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE
        said constant json := convert_from(new.payload, 'UTF8');
        named constant uuid[] := CASE json_typeof(said -> 'subjects') WHEN 'array' THEN
            ARRAY(SELECT json_array_elements_text(said -> 'subjects')::uuid) END;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(new.log_id::text, 2));
        IF new.kind = 'hold.placed' THEN
            INSERT INTO audit.hold (log_id, id, subjects) VALUES (new.log_id, new.id, named);
        ELSIF new.kind = 'hold.released' THEN
            INSERT INTO audit.hold_release (log_id, hold_id, entry_id)
                VALUES (new.log_id, (said ->> 'hold')::uuid, new.id);
        ELSIF new.kind = 'subject.erased' THEN
            IF EXISTS (SELECT FROM unnest(named) AS subject
                    WHERE audit.is_held(new.log_id, subject)) THEN
                RAISE EXCEPTION 'A legal hold stands: nothing is erased.'
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            DELETE FROM audit.body WHERE log_id = new.log_id AND subject = ANY(named);
            DELETE FROM audit.subject_key WHERE log_id = new.log_id AND id = ANY(named);
        ELSE
            -- Six months are the floor (Regulation (EU) 2024/1689, articles 19 and 26).
            DELETE FROM audit.body USING audit.entry, audit.leaf
                WHERE body.log_id = new.log_id
                AND entry.log_id = new.log_id AND entry.id = body.entry_id
                AND leaf.log_id = new.log_id AND leaf.entry_id = body.entry_id
                AND leaf.index < (said ->> 'before_index')::bigint
                AND entry.recorded_at < clock_timestamp() - interval '6 months'
                AND EXISTS (SELECT FROM json_array_elements_text(said -> 'kinds') AS prefix
                    WHERE starts_with(entry.kind, prefix))
                AND NOT audit.is_held(new.log_id, body.subject);
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION audit.is_held(log uuid, subject uuid) RETURNS boolean
        LANGUAGE sql STABLE SET search_path = pg_catalog
        RETURN EXISTS (SELECT FROM audit.hold WHERE hold.log_id = log
            AND (hold.subjects IS NULL OR subject = ANY(hold.subjects))
            AND NOT EXISTS (SELECT FROM audit.hold_release AS release
                WHERE release.log_id = log AND release.hold_id = hold.id))""",
    """CREATE TRIGGER act AFTER INSERT ON audit.entry FOR EACH ROW
        WHEN (new.kind IN ('hold.placed', 'hold.released', 'subject.erased', 'retention.applied'))
        EXECUTE FUNCTION audit.act()""",
    "ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER act",
    """CREATE TRIGGER stamp BEFORE INSERT ON audit.entry
        FOR EACH ROW EXECUTE FUNCTION audit.stamp()""",
    "ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER stamp",
)
