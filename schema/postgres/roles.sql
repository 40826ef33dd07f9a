-- Least privilege. Grant waybill_writer to what publishes, waybill_relay to what relays, waybill_ro to people who look.
-- Roles belong to the whole cluster. Run this again after each migration: it is idempotent.
DO $$
DECLARE
    name text;
    object record;
BEGIN
    FOREACH name IN ARRAY ARRAY['waybill_owner', 'waybill_writer', 'waybill_relay', 'waybill_ro'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- it is there, perhaps made at this moment for another database
        END;
    END LOOP;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AND NOT pg_has_role(current_user, 'waybill_owner', 'USAGE') THEN
        EXECUTE format('GRANT waybill_owner TO %I', current_user); -- who gives objects away must belong to their new owner
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO waybill_owner', current_database());
    IF (SELECT nspowner <> 'waybill_owner'::regrole FROM pg_namespace WHERE nspname = 'waybill') THEN
        ALTER SCHEMA waybill OWNER TO waybill_owner;
    END IF;
    FOR object IN -- only what has another owner: the statement locks out publishers for a moment
        SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind, oid::regclass::text AS name
        FROM pg_class WHERE relnamespace = 'waybill'::regnamespace AND relkind IN ('r', 'p', 'v') AND relowner <> 'waybill_owner'::regrole
        UNION ALL
        SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'waybill'::regnamespace AND proowner <> 'waybill_owner'::regrole
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO waybill_owner', object.kind, object.name);
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA waybill FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT USAGE ON SCHEMA waybill TO waybill_writer, waybill_relay, waybill_ro;

-- Neither pos, xid nor created_at can be set by a writer, and nothing can be read back.
GRANT INSERT (id, topic, key, type, payload, content_type, headers, time) ON waybill.outbox TO waybill_writer;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill TO waybill_writer;

GRANT SELECT, DELETE ON waybill.outbox TO waybill_relay; -- DELETE is for retention
GRANT SELECT, INSERT, UPDATE, DELETE ON waybill.lease, waybill.cursor, waybill.parked, waybill.log TO waybill_relay;
GRANT SELECT, INSERT ON waybill.audit TO waybill_relay;
GRANT SELECT ON waybill.migration, waybill.outbox_status TO waybill_relay;

-- No payload and no header: they may hold what only the consumer may see.
GRANT SELECT (pos, xid, id, topic, key, type, content_type, time, created_at) ON waybill.outbox TO waybill_ro;
GRANT SELECT (relay, pos, incarnation, lane, state, attempts, error, id, topic, key, type, content_type, time, parked_at, request, requested_by) ON waybill.parked TO waybill_ro;
GRANT SELECT (n, at, who, action, relay, pos, id) ON waybill.audit TO waybill_ro;
GRANT SELECT ON waybill.lease, waybill.cursor, waybill.log, waybill.migration, waybill.outbox_status TO waybill_ro;

DO $$
BEGIN
    IF to_regclass('waybill.outbox_flagged') IS NOT NULL THEN
        GRANT INSERT (id, topic, key, type, payload, content_type, headers, time) ON waybill.outbox_flagged TO waybill_writer;
        GRANT SELECT, DELETE, UPDATE (is_published) ON waybill.outbox_flagged TO waybill_relay;
        GRANT SELECT (pos, xid, id, topic, key, type, content_type, time, created_at, is_published) ON waybill.outbox_flagged TO waybill_ro;
    END IF;
END $$;
